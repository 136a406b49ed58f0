"""Answers that cannot work are refused: one sentence, exit code 1, nothing left on disk."""

import json
import subprocess
import sys

import pytest

from tests.template import QUESTIONS, Template, git

REFUSED = {
    "slug-upper-case": ("project_slug", "Payment"),
    "slug-underscore": ("project_slug", "payment_api"),
    "slug-with-dot": ("project_slug", "payment.api"),
    "slug-41-characters": ("project_slug", "s" * 41),
    "slug-leading-hyphen": ("project_slug", "-payment"),
    "slug-trailing-hyphen": ("project_slug", "payment-"),
    "slug-leading-digit": ("project_slug", "3d-print"),
    "slug-not-ascii": ("project_slug", "zahlungs-büro"),
    "slug-newline": ("project_slug", "payment\n"),
    "slug-word-of-yaml": ("project_slug", "null"),
    "slug-hides-the-interpreter": ("project_slug", "python"),
    "slug-is-a-dependency": ("project_slug", "fastapi"),
    "email-without-at": ("author_email", "ada.example.com"),
    "email-two-ats": ("author_email", "ada@home@example.com"),
    "email-no-domain": ("author_email", "ada@"),
    "email-no-person": ("author_email", "@example.com"),
    "email-bare-host": ("author_email", "ada@localhost"),
    "email-domain-with-empty-label": ("author_email", "ada@example..com"),
    "email-with-name": ("author_email", "Ada <ada@example.com>"),
    "email-with-quote": ("author_email", 'a"da@example.com'),
    "email-not-ascii": ("author_email", "zoë@example.com"),
    "email-newline": ("author_email", "ada@example.com\n"),
    "image-tag": ("image_repository", "ghcr.io/example/payment:1.0"),
    "image-digest": ("image_repository", "ghcr.io/example/payment@sha256:" + "0" * 64),
    "image-upper-case": ("image_repository", "ghcr.io/Example/payment"),
    "image-scheme": ("image_repository", "https://ghcr.io/example/payment"),
    "image-empty": ("image_repository", ""),
    "image-empty-component": ("image_repository", "ghcr.io//payment"),
    "image-trailing-slash": ("image_repository", "ghcr.io/example/"),
    "image-port-only": ("image_repository", "localhost:5000"),
    "image-space": ("image_repository", "ghcr.io/my team/payment"),
    "image-too-long": ("image_repository", "i" * 201),
    "name-empty": ("project_name", ""),
    "name-blank": ("project_name", " "),
    "name-outer-space": ("project_name", "Payment "),
    "name-too-long": ("project_name", "N" * 61),
    "name-double-quote": ("project_name", 'The "best" API'),
    "description-too-long": ("description", "d" * 121),
    "description-backslash": ("description", "C:\\temp"),
    "description-newline": ("description", "one\ntwo"),
    "description-tab": ("description", "one\ttwo"),
    "description-line-separator": ("description", "one\u2028two"),
    "description-nul": ("description", "one\0two"),
    "description-shell-variable": ("description", "as $HOME"),
    "description-triple-quote": ("description", 'x"""+print("!")+"""'),
    "description-helm": ("description", "{{ .Values.x }}"),
    "author-too-long": ("author_name", "A" * 61),
    "author-mark": ("author_name", "a >> b"),
    "author-comment-end": ("author_name", "a #> b"),
    "author-block-end": ("author_name", "100%> sure"),
    "author-line-statement": ("author_name", "a #% b"),
    "author-mark-that-was-rendered": ("author_name", "<< '<' * 2 >> b"),
}

ACCEPTED = {
    "slug-one-letter": ("project_slug", "s"),
    "slug-40-characters": ("project_slug", "s" * 40),
    "slug-two-hyphens": ("project_slug", "a--b"),
    "slug-the-package": ("project_slug", "app"),
    "slug-digits": ("project_slug", "s3-2"),
    "email-apostrophe-and-tag": ("author_email", "zoe.o'neil+tag@mail.example.com"),
    "email-upper-case": ("author_email", "Ada@Example.COM"),
    "image-port": ("image_repository", "localhost:5000/payment"),
    "image-one-name": ("image_repository", "payment"),
    "image-separators": ("image_repository", "ghcr.io/a_b/c__d/e--f.g"),
    "image-cloud-registry": ("image_repository", "123456789012.dkr.ecr.eu-west-1.amazonaws.com/payment"),
    "name-apostrophe": ("project_name", "Ada's API"),
    "name-60-characters": ("project_name", "N" * 60),
    "description-120-characters": ("description", "d" * 120),
    "description-yaml-signs": ("description", "- a: [b, *c] & {d} # 100 % 'e' `f` <g>"),
    "author-other-script": ("author_name", "東京 株式会社"),
}


def run(template: Template, answer: str, value: str) -> "subprocess.CompletedProcess[str]":
    """Bake from the command line, as a user does, with all other answers left alone."""
    # Derived answers would follow a bad slug or name; here each value stands on its own.
    plain = {"project_slug": "payment-api", "image_repository": "ghcr.io/example/payment-api"}
    answers = template.folder.parent / "answers.yaml"
    answers.write_text(
        json.dumps(
            {
                "default_context": plain | {answer: value},
                "replay_dir": str(template.folder.parent / "replay"),
                "cookiecutters_dir": str(template.folder.parent / "clones"),
            }
        )
    )
    command = [sys.executable, "-m", "cookiecutter", str(template.folder), "--no-input", "--config-file", str(answers)]
    return subprocess.run(command, cwd=template.output, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(("answer", "value"), REFUSED.values(), ids=REFUSED)
def test_refused(template: Template, answer: str, value: str) -> None:
    done = run(template, answer, value)
    shown = json.dumps("<< b" if value.startswith("<< '") else value, ensure_ascii=False)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1, "one sentence"
    assert done.stderr.startswith(f"{answer} {shown} must "), "names the answer and its value"
    assert 'such as "' in done.stderr, "gives an example that works"
    assert list(template.output.iterdir()) == []


@pytest.mark.parametrize(("answer", "value"), ACCEPTED.values(), ids=ACCEPTED)
def test_accepted(template: Template, answer: str, value: str) -> None:
    done = run(template, answer, value)
    assert done.stderr == ""
    assert done.returncode == 0
    assert len(list(template.output.iterdir())) == 1


@pytest.mark.parametrize("answer", sorted({answer for answer, _ in REFUSED.values()}))
def test_the_example_is_accepted(template: Template, answer: str) -> None:
    refusal = run(template, answer, "\\").stderr
    example = refusal.split('such as "', 1)[1].split('"', 1)[0]
    assert run(template, answer, example).returncode == 0


def test_every_question_of_free_text_is_checked() -> None:
    free = {name for name, default in QUESTIONS.items() if isinstance(default, str) and not name.startswith("_")}
    assert free == {answer for answer, _ in REFUSED.values()} == {answer for answer, _ in ACCEPTED.values()}


def test_each_wrong_answer_gets_its_sentence(template: Template, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(Exception, match="Hook script failed"):
        template.bake(project_slug="Payment", author_email="ada", description="")
    sentences = capfd.readouterr().err.splitlines()
    # Not one for the image, which is derived from the slug.
    assert [sentence.split()[0] for sentence in sentences] == ["project_slug", "description", "author_email"]


def test_a_refusal_leaves_an_older_project_alone(template: Template) -> None:
    project = template.bake(project_slug="payment-api")
    git("add", ".", folder=project)
    git("commit", "-m", "first", folder=project)
    with pytest.raises(Exception, match="Hook script failed"):
        template.bake(project_slug="payment-api", author_email="ada")
    assert git("status", "--porcelain", folder=project) == ""
