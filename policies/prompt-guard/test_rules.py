from sdk import testing

policy = testing.load_policy(__file__)


def test_many_words_hold_back_no_more_than_few() -> None:
    words = [f"number {number:04} of many" for number in range(100)]
    (rule,) = policy.compile_rules([{"name": "many", "words": words}])
    held_from = {text: rule.held_from(text, 0) for text in ("Air, ", "Air, n", "Air, NUMBER 00", "Air, numbers")}
    assert held_from == {"Air, ": 5, "Air, n": 5, "Air, NUMBER 00": 5, "Air, numbers": 12}
