from tests.reference import PAGE, page


def test_the_reference_is_what_the_code_says() -> None:
    assert PAGE.read_text("utf-8") == page(), "run `python -m tests.reference`"
