"A few faults of each kind; `make faults` tries them all."
import warnings

import pytest
from faults import bad_inputs, company, disks, mask_folders, stored
from faults.outcome import summary

SOME = {
    "stored": lambda: stored.tried(every=9),
    "bad inputs": bad_inputs.tried,
    "folders of masks": lambda: mask_folders.tried(examples=20),
    "company": lambda: company.tried(with_items=False),
    "disks": disks.tried,
}


@pytest.mark.parametrize("kind", SOME)
def test_faults_are_refused_by_name_or_mended(kind, annotations_off, monkeypatch):
    monkeypatch.delenv("FOURIER_MASK_RUNS")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        outcomes = list(SOME[kind]())
    failed = [outcome for outcome in outcomes if outcome.state == "failed"]
    assert outcomes and not failed, summary(outcomes)


def test_a_fault_that_nobody_notices_is_told(tmp_path):
    "The harness itself: what is accepted, what is foreign, what lacks the name, and what is documented."
    from faults.outcome import outcome_of

    def raises(error):
        def call(): raise error
        return call

    calls = [(lambda: 1, ()), (raises(KeyError("n")), ("n",)), (raises(ValueError("no")), ("n must",)),
             (raises(ValueError("n must be 1;\ngot 2")), ("n must",)), (raises(ValueError("n must be 1")), ("n must",))]
    assert [outcome_of("x", call, *names).state for call, names in calls] == ["failed"] * 4 + ["refused"]
    assert outcome_of("x", lambda: 1, legitimate=True).state == "legitimate"
    assert outcome_of("x", raises(ValueError("no")), legitimate=True).state == "failed"
    assert summary([outcome_of("x", lambda: 1)]).endswith("FAILED x: it was accepted")
