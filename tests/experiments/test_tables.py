import pytest

from experiments import tables


@pytest.mark.parametrize("page", tables.pages(), ids=lambda page: page.name)
def test_the_tables_of_the_docs_are_what_the_results_say(page) -> None:
    text = page.read_text()
    assert tables.filled(text) == text, "run `python -m experiments.tables --write`"


def test_every_table_stands_somewhere() -> None:
    said = "".join(page.read_text() for page in tables.pages())
    assert [name for name in tables.SOURCES if f"<!-- table: {name} -->" not in said] == []


def test_a_figure_changed_by_hand_is_put_right_and_what_stands_around_stays() -> None:
    page = "before\n\n<!-- table: fresh -->\n" + tables.SOURCES["fresh"].table() + "\nafter | with a bar\n"
    assert tables.filled(page) == page
    assert tables.filled(page.replace("89 %", "99 %")) == page
    assert tables.filled("<!-- table: fresh -->\n\nafter\n").endswith("|\n\nafter\n")


def test_a_mark_that_names_no_table_is_an_error() -> None:
    with pytest.raises(KeyError, match="nonesuch"):
        tables.filled("<!-- table: nonesuch -->\n| a |\n")


def test_gains_are_bold_where_chance_does_not_explain_them() -> None:
    def gain(mean: float, low: float, high: float) -> str:
        return tables.points({"mean": mean, "low": low, "high": high})

    assert gain(0.0227, 0.014, 0.0313) == "**+2.3 (+1.4 to +3.1)**"
    assert gain(-0.132, -0.175, -0.093) == "**-13.2 (-17.5 to -9.3)**"
    assert gain(-0.0001, -0.004, 0.0) == "0.0 (-0.4 to 0.0)"


def test_what_became_of_a_sabotage() -> None:
    refused = {"sabotage": "diverging", "admitted": False, "checks_failed": ["value, own", "value, offline", "shadow"]}
    none = {"sabotage": "corrupted frames", "admitted": False, "checks_failed": []}
    lived = {"on_the_robot": {"episodes": 12}}
    back = {"sabotage": "x", "admitted": True, "probation": {"passed": False, "taken_back": True} | lived}
    passed = {"sabotage": "x", "admitted": True, "probation": {"passed": True, "taken_back": False} | lived}
    gained = {
        "success": {"mean": -0.01, "low": -0.03, "high": 0.01},
        "violation": {"mean": 0.0, "low": 0.0, "high": 0.0},
    }
    crept = {"sabotage": "creeping x", "admitted": False, "steps_admitted": 1, "admitted_margin": {"gained": gained},
             "checks_failed": ["benefit"]}  # fmt: skip
    drawn = {"sabotage": "later x, 20 draws", "admitted": True, "draws": 20, "draws_admitted": 1,
             "margins_admitted": [{"gained": gained}]}  # fmt: skip
    measured = {"running": {"success": 0.88, "violation": 0.02}, "candidate": {"success": 0.5, "violation": 0.08}}
    less = {"success": {"mean": -0.38, "low": -0.44, "high": -0.32}, "violation": gained["violation"]}
    worse = {"sabotage": "slower", "admitted": False, "checks_failed": ["value, own"],
             "margin": measured | {"gained": less}}  # fmt: skip
    told = tables.sabotaged({"trials": [refused, none, back, passed, crept, drawn, worse]}).splitlines()[2:]
    assert [line.rpartition("|  | ")[2] for line in told[:6]] == [
        "refused: value, shadow |", "no candidate |", "admitted; taken back after 12 episodes |",
        "admitted; passed its probation after 12 episodes |",
        "1 step admitted (reach -1.0 (-3.0 to +1.0), violations 0.0 (0.0 to 0.0)), the next refused: benefit |",
        "1 of 20 admitted (reach -1.0 (-3.0 to +1.0), violations 0.0 (0.0 to 0.0)) |",
    ]  # fmt: skip
    assert told[6] == (
        "| slower | 88 %, 50 % | **-38.0 (-44.0 to -32.0)** | 2 %, 8 % | 0.0 (0.0 to 0.0) | refused: value |"
    )
