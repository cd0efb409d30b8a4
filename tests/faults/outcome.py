"What came of a fault."
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass

STATES = {
    "refused": "in one line that names what is wrong",
    "mended": "noticed, named, and computed again or gone on with, to the same numbers",
    "legitimate": "documented to work, and it did",
    "not tried": "this machine does not permit it",
    "failed": "anything else: wrong numbers, a foreign exception, a hang, something lost",
}
REFUSALS = (ValueError, TypeError, OSError)


@dataclass(frozen=True)
class Outcome:
    fault: str  # what was done, in words
    state: str  # in `STATES`
    said: str = ""  # message or warning


def outcome_of(
    fault: str,  # what is done, in words
    call: Callable[[], object],  # does it
    *names: str,  # that a refusal must hold
    legitimate: bool = False,  # whether it is documented to work
) -> Outcome:
    "Call what should be refused by name, in one line, or what is documented to work."
    try: call()
    except REFUSALS as error:
        said = str(error)
        lacks = [name for name in names if name not in said]
        wrong = "accepted is wanted" if legitimate else "lines" if "\n" in said else f"lacks {lacks}" if lacks else ""
        return Outcome(fault, "failed" if wrong else "refused", f"{wrong}: {said}" if wrong else said)
    except Exception as error: return Outcome(fault, "failed", f"foreign {type(error).__name__}: {error}")
    return Outcome(fault, "legitimate") if legitimate else Outcome(fault, "failed", "it was accepted")


def summary(outcomes: Iterable[Outcome]) -> str:
    "How many came to what, and each that failed."
    outcomes = list(outcomes)
    counts = Counter(each.state for each in outcomes)
    lines = [f"{len(outcomes)} tried: " + ", ".join(f"{counts[state]} {state}" for state in STATES)]
    return "\n".join(lines + [f"  FAILED {each.fault}: {each.said}" for each in outcomes if each.state == "failed"])
