#!/usr/bin/env python3
"""Build fashion5.npz: five classes of Fashion-MNIST, cut to the paper's split sizes (4,710 train / 1,934 validation).

Source: the four idx.gz files of Fashion-MNIST (Zalando SE, MIT licence), e.g. from Debian's package
dataset-fashion-mnist, which puts them in usr/share/datasets/fashion-mnist.

    python make_fashion5.py PATH_TO_IDX_FILES fashion5.npz
"""
import gzip
import hashlib
import sys
from pathlib import Path

import numpy as np

CLASSES = {0: "T-shirt/top", 1: "Trouser", 2: "Pullover", 4: "Coat", 6: "Shirt"}
N_TRAIN = (942,) * 5                        # 4,710 in all
N_VAL = (387, 387, 387, 387, 386)           # 1,934 in all


def read_idx(folder, stem):
    images = np.frombuffer(gzip.open(folder / f"{stem}-images-idx3-ubyte.gz").read(), np.uint8, offset=16)
    labels = np.frombuffer(gzip.open(folder / f"{stem}-labels-idx1-ubyte.gz").read(), np.uint8, offset=8)
    return images.reshape(-1, 28, 28), labels


def first_of_each(images, labels, counts):
    rows = [np.flatnonzero(labels == c)[:n] for c, n in zip(CLASSES, counts, strict=True)]
    return (np.concatenate([images[r] for r in rows]),
            np.concatenate([np.full(len(r), i, np.uint8) for i, r in enumerate(rows)]))


if __name__ == "__main__":
    folder, out = Path(sys.argv[1]), Path(sys.argv[2])
    train_images, train_labels = first_of_each(*read_idx(folder, "train"), N_TRAIN)
    val_images, val_labels = first_of_each(*read_idx(folder, "t10k"), N_VAL)
    np.savez_compressed(out, train_images=train_images, train_labels=train_labels, val_images=val_images,
                        val_labels=val_labels, class_names=np.array(list(CLASSES.values())))
    print(train_images.shape, val_images.shape, hashlib.sha256(out.read_bytes()).hexdigest())
