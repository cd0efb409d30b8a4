"The checker of annotations under pytest: beartype, taking an int where a float is wanted, as PEP 484 does."
from beartype import BeartypeConf, beartype

tower = beartype(conf=BeartypeConf(is_pep484_tower=True))
