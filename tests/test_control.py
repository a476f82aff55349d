"""The control of chapter 03: what each step changes is taken on one network at a time."""

import pandas as pd

from rappbook.chapters import control


def runs(aurocs, targets):
    frame = pd.DataFrame([dict(zip(control.WAYS, row, strict=True)) for row in aurocs])
    return frame.assign(target=targets)


def test_steps_are_differences_of_ways_on_the_same_network():
    found = runs(aurocs=((0.2, 0.3, 0.4, 0.8, 0.7), (0.4, 0.5, 0.6, 0.6, 0.7)), targets=("1", "1"))
    shown = control.steps(found, "1")
    assert shown["this class, 2 runs"].to_list() == [
        "+0.200 ± 0.000",
        "+0.300 ± 0.283",
        "+0.100 ± 0.000",
        "+0.200 ± 0.283",
        "+0.000 ± 0.141",
    ]
    assert shown["verdict"].to_list() == ["helps", "open", "helps", "open", "open"]


def test_other_classes_have_a_column_of_their_own_in_both_tables():
    found = runs(aurocs=((0.2, 0.3, 0.4, 0.8, 0.7), (0.5,) * 5, (0.5,) * 5), targets=("1", "2", "3"))
    steps = control.steps(found, "1")
    for table in (control.table(found, "1"), steps.drop(columns="verdict")):
        assert list(table.columns)[-3:] == ["this class, one run", "class 2, one run", "class 3, one run"]
    assert steps.iloc[0].tolist()[1:] == ["+0.200", "one run", "+0.000", "+0.000"]


def test_many_other_classes_share_a_column_without_a_verdict():
    found = runs(aurocs=((0.2, 0.3, 0.4, 0.8, 0.7), *[(0.5,) * 5] * 4), targets=list("12345"))
    assert list(control.table(found, "1").columns)[-1] == "4 other classes, one run each"
    assert control.steps(found, "1").iloc[0].iloc[-1] == "+0.000 ± 0.000"
