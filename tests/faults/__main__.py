"""The fault campaign: make faults

    python -m faults                       everything; half an hour of it is fuzzing
    python -m faults stored bad_inputs     some of it
    python -m faults --minutes 5 --seed 9  less fuzzing, other damages
"""
import argparse
import sys
import time
import warnings

import torch

from faults import bad_inputs, company, disks, kills, mask_folders, stored
from faults.outcome import summary

PARTS = {"stored": stored, "bad_inputs": bad_inputs, "company": company, "disks": disks, "kills": kills,
         "mask_folders": mask_folders}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; none for all")
    parser.add_argument("--minutes", type=float, default=30, help="of fuzzing folders of masks")
    parser.add_argument("--seed", type=int, default=0, help="of the first damage of that")
    args = parser.parse_args()
    if unknown := [name for name in args.parts if name not in PARTS]: parser.error(f"no part is called {unknown[0]!r}")
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # each part that is about warnings looks at them itself
    everything, lines = [], []
    for name in args.parts or PARTS:
        began, outcomes = time.monotonic(), []
        given = dict(seconds=60 * args.minutes, first=args.seed) if name == "mask_folders" else {}
        for outcome in PARTS[name].tried(**given):
            outcomes.append(outcome)
            if outcome.state == "failed": print(f"{name}: FAILED {outcome.fault}: {outcome.said}", flush=True)
        told = summary(outcomes).splitlines()[0]
        lines.append(f"{name:14}{time.monotonic() - began:7.0f} s  {told}")
        print(lines[-1], flush=True)
        everything += outcomes
    print("\n" + "\n".join(lines) + f"\n{'all':24}{summary(everything)}")
    return int(any(outcome.state == "failed" for outcome in everything))


if __name__ == "__main__": sys.exit(main())
