"""However labels are ordered, repeated and spread over nights, they join as all of them at once."""

from hypothesis import given
from hypothesis import strategies as st
from label_rows import DUE, PREDICTED, answers, labels

from ferryman.monitoring.labels import join, merge

# Who, what, and when it became known: by the client's word, so that order does not tell it.
ROW = st.tuples(
    st.sampled_from([*PREDICTED, "unknown"]),
    st.sampled_from([True, False, None]),
    st.integers(0, 5),
)


@given(rows=st.lists(ROW, max_size=12), data=st.data())
def test_any_order_repetition_and_spread_gives_what_all_at_once_give(
    rows: list[tuple[str, bool | None, int]], data: st.DataObject
) -> None:
    truth, _ = join(labels(rows), answers(), DUE)
    repeated = rows + (data.draw(st.lists(st.sampled_from(rows), max_size=5)) if rows else [])
    shuffled = data.draw(st.permutations(repeated))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(shuffled)), min_size=3, max_size=3)))
    nights = [shuffled[start:end] for start, end in zip([0, *cuts], [*cuts, None], strict=True)]
    joined = [join(labels(night), answers(), DUE)[0] for night in nights]
    assert merge(joined).equals(truth)
    assert merge(joined[::-1]).equals(truth)
    assert truth["entity_key"].to_pylist() == PREDICTED
