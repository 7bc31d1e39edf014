from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from debias_pipeline.biased_data.percent import parse_percent
from debias_pipeline.errors import UserError


@given(st.integers(0, 100_000_000))
def test_canonical_text_round_trips(millionths_of_percent):
    value = Decimal(millionths_of_percent) / 1_000_000
    digits = f"{value:f}"
    canonical = digits.rstrip("0").rstrip(".") if "." in digits else digits
    assert parse_percent(f"{canonical}pct") == float(value / 100)


@given(st.text(alphabet="0123456789.pct-", max_size=8))
def test_accepted_text_is_the_only_spelling_of_its_value(text):
    try:
        fraction = parse_percent(text)
    except UserError:
        return
    assert 0 <= fraction <= 1
    assert not text.startswith("00")
    number = text.removesuffix("pct")
    if "." in number:
        assert not number.endswith(("0", "."))


WRONG = {
    "as in 2pct": ["abc", "", "-1pct", "150pct", "100.5pct", "nanpct", None, True, ["2pct"]],
    "write 2pct": ["2pct\n", "2", "2%", "2 pct", "02pct", "2.0pct", 2, "٢pct"],
    "write 0.5pct": ["0.50pct", ".5pct", 0.5],
    "write 0pct": ["-0pct"],
    "write 10pct": ["1e1pct"],
}


@pytest.mark.parametrize("hint", WRONG)
def test_anything_else_is_refused_with_a_hint(hint):
    for text in WRONG[hint]:
        with pytest.raises(UserError) as caught:
            parse_percent(text)
        assert hint in str(caught.value), text
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("text", "fraction"), [("0pct", 0), ("0.5pct", 0.005), ("100pct", 1)])
def test_values(text, fraction):
    assert parse_percent(text) == fraction
