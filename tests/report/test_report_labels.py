"""Labels of a chart lie beside their points, and never on each other."""

from hypothesis import given
from hypothesis import strategies as st

from tprune.report.labels import Box, place, text_box
from tprune.report.scatter import Dot, fitted, joined, scatter, ticks

FRAME = Box(0, 0, 300, 200)
numbers = st.floats(-100, 100)


@given(st.lists(st.tuples(st.floats(0, 300), st.floats(0, 200), st.text(min_size=1, max_size=12)), max_size=20))
def test_no_label_overlaps_another_or_leaves_the_frame(points: list[tuple[float, float, str]]) -> None:
    taken: list[Box] = []
    boxes = [label.box for x, y, text in points if (label := place(text, x, y, FRAME, taken))]
    for i, box in enumerate(boxes):
        assert FRAME.holds(box) and not any(box.meets(other) for other in boxes[:i])


def test_a_label_leaves_whiskers_free_where_it_can() -> None:
    beside = place("a", 100, 100, FRAME, [])
    whisker = Box(100, 80, 200, 99)
    free = place("a", 100, 100, FRAME, [], [whisker])
    assert beside and beside.box.meets(whisker) and free and not free.box.meets(whisker) and not free.line
    everywhere = place("a", 100, 100, FRAME, [], [FRAME])
    assert everywhere and everywhere.box == beside.box


def test_wide_characters_take_more_room() -> None:
    latin, chinese = text_box("ab", 50, 20), text_box("中文", 50, 20)
    assert chinese.x0 < latin.x0 and latin.x1 < chinese.x1 and chinese.y0 == latin.y0


@given(st.lists(numbers, min_size=1, max_size=12))
def test_an_axis_fits_its_values(values: list[float]) -> None:
    low, high = fitted(values)
    assert low <= min(values) and max(values) <= high and len(ticks(low, high)) >= 2
    span = max(values) - min(values)
    assert high - low <= max(1.13 * span, 0.021 * max(abs(low), abs(high), 1.0))  # and leaves little of itself empty


def test_dots_that_touch_share_a_label() -> None:
    def at(name: str, x: float, y: float) -> Dot:
        return Dot(name, (x, x, x), (y, y, y), labels=(name,))

    found = scatter([at("1", 1.0, 30), at("2", 1.001, 30), at("3", 2.0, 20), at("4", 1.0, 30)], "BLEU")
    assert [label["text"] for label in found["labels"]] == ["3", "1–2, 4"]
    assert joined(["11", "9", "10"]) == "9–11"
