"""Refuse answers that cannot work, before anything is written.

cookiecutter renders this file and runs it in the new, still empty folder, which it removes when the
exit code is not 0. Standard library only, no network.
"""

import json
import re
import sys

# JSON in a raw string: this stays valid Python whatever was answered.
ANSWERS = json.loads(r"""<< cookiecutter | tojson >>""")

MARKS = ["{{", "}}", *(mark for mark in ANSWERS["_jinja2_env_vars"].values() if isinstance(mark, str))]

DNS = r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?"
SLUG = re.compile(r"[a-z](?:[-a-z0-9]{0,38}[a-z0-9])?")
EMAIL = re.compile(rf"[\w.!#%&'*+/=?^`|~-]+@(?:{DNS}\.)+{DNS}", re.ASCII | re.IGNORECASE)
NAME = r"[a-z0-9]+(?:(?:\.|_{1,2}|-+)[a-z0-9]+)*"
IMAGE = re.compile(rf"(?:{DNS}(?:\.{DNS})*:[0-9]+/)?{NAME}(?:/{NAME})*")


def wrong_slug(value: str) -> str | None:
    if not SLUG.fullmatch(value):
        return (
            "must be a DNS label of at most 40 characters: lower-case letters, digits and inner hyphens, "
            'starting with a letter, such as "payment-api"'
        )
    if value in ANSWERS["_reserved_slugs"]:
        return (
            "must not be a YAML keyword or the name of a package that the project installs, "
            f'such as "{value}-service" instead'
        )
    return None


def wrong_email(value: str) -> str | None:
    if len(value) <= 254 and EMAIL.fullmatch(value):
        return None
    return 'must be an email address with a full domain, such as "team@example.com"'


def wrong_image(value: str) -> str | None:
    if len(value) <= 200 and IMAGE.fullmatch(value):
        return None
    return (
        "must be a registry and a path in lower case, without scheme, tag and digest, "
        'such as "ghcr.io/example/payment-api"'
    )


def wrong_text(value: str, limit: int, example: str) -> str | None:
    # Answers land between double quotes in TOML, YAML, Python and the Dockerfile.
    clean = value.isprintable() and not set(value) & set('"\\$') and not any(mark in value for mark in MARKS)
    if clean and value == value.strip() and 1 <= len(value) <= limit:
        return None
    return (
        f"must be one line of 1 to {limit} characters without leading or trailing spaces, double quotes, backslashes, "
        f'dollar signs and the marks {" ".join(MARKS)}, such as "{example}"'
    )


CHECKS = {
    "project_name": lambda value: wrong_text(value, 60, "Payment API"),
    "project_slug": wrong_slug,
    "description": lambda value: wrong_text(value, 120, "Takes payments and sends receipts"),
    "author_name": lambda value: wrong_text(value, 60, "Ada Lovelace"),
    "author_email": wrong_email,
    "image_repository": wrong_image,
}


def main() -> int:
    wrong = {answer: rule for answer, check in CHECKS.items() if (rule := check(str(ANSWERS[answer])))}
    if "project_slug" in wrong and ANSWERS["image_repository"].endswith(f"/{ANSWERS['project_slug']}"):
        wrong.pop("image_repository", None)  # derived from the slug: correct once the slug is
    for answer, rule in wrong.items():
        print(f"{answer} {json.dumps(ANSWERS[answer], ensure_ascii=False)} {rule}.", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
