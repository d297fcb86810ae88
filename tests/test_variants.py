"""The syntax and meaning of variants, and the studies of the reports."""

import dataclasses
import itertools
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from siamese.config import CHOICES, Config
from siamese.errors import UserError
from siamese.experiment.variants import BASE, SIDES, Study, against_first, differing, parse, parse_all, read_study
from siamese.losses.registry import LOSSES, names

ROOT = Path(__file__).parents[1]
STUDIES = {
    path.parent.name: read_study(path)
    for path in (
        ROOT / "siamese/experiment/one-sided-vs-symmetric.toml",
        *sorted((ROOT / "reports").rglob("study.toml")),
    )
}
ONE_SIDED, ZOO = STUDIES["experiment"], STUDIES["losses"]

IN_BATCH = {**SIDES, **{name: {"loss": name} for name in names("in-batch")}}


def only(text: str, base: Config = BASE) -> Config:
    """Return the recipe of a variant that has one setting."""
    (setting,) = parse(text, base).settings
    return setting


@pytest.mark.parametrize(
    ("text", "changes"),
    [
        ("rows", {}),
        ("columns", {"anchors": "columns"}),
        ("both", {"anchors": "both"}),
        ("pooled", {"anchors": "both", "combine": "pooled"}),
        ("triplet", {"anchors": "both"}),
        ("matrix-softmax", {"loss": "matrix-softmax", "anchors": "both"}),
        ("contrastive", {"loss": "none", "labelled": "contrastive"}),
        ("rows+logistic", {"labelled": "logistic"}),
        ("matrix-bce+mse", {"loss": "matrix-bce", "anchors": "both", "labelled": "mse"}),
        ("rows,batch_size=64", {"batch_size": 64}),
        ("both,swap=true,margin=0.5", {"anchors": "both", "swap": True, "margin": 0.5}),
        ("rows,leave_out_known=false", {"leave_out_known": False}),
        ("rows,learning_rate=1e-4", {"learning_rate": 1e-4}),
        ("both+logistic,labelled_weight=8", {"anchors": "both", "labelled": "logistic", "labelled_weight": 8}),
        ("rows,goal=precision=0.9", {"goal": "precision=0.9"}),
    ],
)
def test_a_variant_is_the_base_with_changes(text: str, changes: dict[str, object]) -> None:
    variant = parse(text, BASE)
    assert variant.name == text
    assert variant.settings == (dataclasses.replace(BASE, **changes),)  # type: ignore[arg-type]
    assert set(differing(variant.settings[0], BASE)) == set(changes)


@given(st.sampled_from(sorted(IN_BATCH)), st.sampled_from(["", *names("labelled")]), st.sampled_from([16, 64, 1024]))
def test_an_in_batch_loss_takes_any_labelled_one_beside_it(first: str, second: str, size: int) -> None:
    found = only(f"{first}+{second},batch_size={size}" if second else f"{first},batch_size={size}")
    assert found.loss == IN_BATCH[first].get("loss", "triplet")
    assert (found.labelled, found.batch_size) == (second or "none", size)


def test_numbers_and_truth_values_have_their_types() -> None:
    found = only("both,swap=true,squared=false,batch_size=64,margin=0.5,threshold=0.7,tokens=words")
    assert (found.swap, found.squared, found.tokens) == (True, False, "words")
    assert [type(value) for value in (found.batch_size, found.margin, found.threshold)] == [int, float, float]


def test_several_values_are_settings_to_choose_from() -> None:
    variant = parse("both,batch_size=64,margin=0.1/0.25,temperature=0.1/0.2/0.3", BASE)
    assert variant.name == "both,batch_size=64"
    expected = list(itertools.product([0.1, 0.25], [0.1, 0.2, 0.3]))
    assert [(c.margin, c.temperature) for c in variant.settings] == expected
    assert all(c.batch_size == 64 and c.anchors == "both" for c in variant.settings)


def test_none_is_no_teacher() -> None:
    base = BASE.replace(teacher="encoder", training_pairs=10)
    found = only("both,teacher=none,training_pairs=none", base)
    assert (found.teacher, found.training_pairs) == (None, None)
    assert only("both,teacher=other", base).teacher == "other"


def test_all_else_is_the_bases() -> None:
    base = BASE.replace(epochs=7, batch_size=32, precision="bfloat16", labelled="mse", loss="matrix-bce")
    found = only("columns", base)
    assert (found.epochs, found.batch_size, found.precision) == (7, 32, "bfloat16")
    assert (found.loss, found.labelled) == ("triplet", "none")  # the losses are what the name says


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("row", "'row' is not one of rows, columns, both, pooled, triplet, matrix-softmax"),
        ("", "'' is not one of rows"),
        ("rows+Logistic", "'Logistic' is not one of"),
        ("rows,size=3", "'size' is not a field of a recipe: tower, "),
        ("rows,labelled=mse", "'labelled' is not a field"),  # it is written rows+mse
        ("rows,batch_size", "'' is not a whole number of 2 or more"),
        ("rows,batch_size=1", "--batch-size: 1 is not a whole number of 2 or more"),
        ("rows,batch_size=64/1", "--batch-size: 1 is not a whole number of 2 or more"),
        ("rows,margin=wide", "--margin: 'wide' is not a number from 0 to 2"),
        ("rows,margin=0.1/", "--margin: '' is not a number"),
        ("rows,closest=soft", "closest: 'soft' is not one of hardest, semi-hard"),
        ("rows,goal=speed", "goal 'speed': expected probability, accuracy, f1 or precision=0.95"),
        ("rows,skip=true,hidden=16", "skip: embedding 128 and hidden 16 differ; make them equal"),
        ("rows,swap=no", "swap is 'no'; expected true or false"),
        ("rows,swap=2", "swap is '2'; expected true or false"),
        ("rows,leave_out_known=maybe", "leave_out_known is 'maybe'; expected true or false"),
        ("rows+columns", "two loss losses; expected one in-batch and one labelled at most"),
        ("logistic+mse", "two labelled losses"),
    ],
)
def test_what_cannot_be_meant_is_refused(text: str, message: str) -> None:
    with pytest.raises(UserError) as refused:
        parse(text, BASE)
    assert str(refused.value).startswith(f"--losses {text}: ")
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "texts",
    [
        ("rows", "rows"),
        ("rows", "both", "rows,closest=hardest"),  # the default, written out
        ("both", "triplet"),
        ("rows+logistic", "logistic+rows"),
        ("rows,margin=0.5,batch_size=64", "rows,batch_size=64,margin=0.5"),
        ("rows,margin=0.1/0.2", "rows,margin=0.2"),  # one of the settings
        ("rows,margin=0.1", "rows,margin=0.10"),
        ("rows,margin=0.1/0.2", "rows,temperature=0.1/0.2"),  # other settings, the same name
    ],
)
def test_two_variants_that_are_the_same_are_refused(texts: tuple[str, ...]) -> None:
    with pytest.raises(UserError, match="are the same; expected different ones"):
        parse_all(texts, BASE)


def test_different_variants_come_in_their_order() -> None:
    texts = ["both", "rows", "rows,batch_size=64", "mse"]
    assert [variant.name for variant in parse_all(texts, BASE)] == texts


def test_the_anchors_of_a_matrix_loss_can_be_chosen() -> None:
    assert only("matrix-softmax,anchors=rows") == BASE.replace(loss="matrix-softmax", anchors="rows")


def test_differing() -> None:
    assert differing(BASE, BASE.replace(seed=9)) == ()
    assert differing(BASE, BASE.replace(seed=9, hidden=16, margin=0.5)) == ("hidden", "margin")  # as in Config
    one, other = only("pooled,batch_size=64"), only("rows,swap=true")
    assert set(differing(one, other)) == set(differing(other, one)) == {"anchors", "combine", "batch_size", "swap"}


def test_against_first() -> None:
    study = against_first(["rows", "both,margin=0.1/0.2", "mse"])
    assert study.losses == ("rows", "both,margin=0.1/0.2", "mse")
    (question,) = study.questions
    assert "rows" in question.text
    assert question.contrasts == (("both", "rows"), ("mse", "rows"))


def test_against_first_takes_what_the_base_of_a_comparison_takes() -> None:
    # BASE has no skip, so its embedding may differ from its hidden size.
    assert against_first(["rows", "rows,embedding=64"]).questions[0].contrasts == (("rows,embedding=64", "rows"),)


@pytest.mark.parametrize("study", STUDIES.values(), ids=list(STUDIES))
def test_a_study_trains_what_it_contrasts_and_contrasts_what_it_trains(study: Study) -> None:
    trained = [variant.name for variant in parse_all(study.losses, study.base)]
    contrasts = [contrast for question in study.questions for contrast in question.contrasts]
    assert len(set(trained)) == len(trained)
    assert len(set(contrasts)) == len(contrasts)  # Holm would count it twice
    assert not {(b, a) for a, b in contrasts} & set(contrasts)
    assert all(a != b for a, b in contrasts)
    assert {name for contrast in contrasts for name in contrast} == set(trained)
    assert all(question.contrasts and question.text.endswith("?") for question in study.questions)


@pytest.mark.parametrize("study", STUDIES.values(), ids=list(STUDIES))
def test_all_but_the_losses_and_what_a_name_says_is_equal(study: Study) -> None:
    about_losses = {"loss", "anchors", "combine", "labelled"}
    for text, variant in zip(study.losses, parse_all(study.losses, study.base)):
        said = {assignment.split("=")[0] for assignment in text.split(",")[1:]}
        for setting in variant.settings:
            assert set(differing(setting, study.base)) <= about_losses | said


def test_a_contrast_of_rows_or_columns_changes_one_thing() -> None:
    for question in ONE_SIDED.questions:
        for one, other in question.contrasts:
            changed = set(differing(only(one), only(other)))
            if (one, other) == ("both", "rows,swap=true"):  # the one instead of the other
                assert changed == {"anchors", "swap"}
            else:
                assert len(changed) == 1 or changed == {"anchors", "combine"}


def test_every_loss_of_the_zoo_has_three_settings() -> None:
    """The same small budget for each. A loss that came after the study need not be in it."""
    assert all(len(variant.settings) == 3 for variant in parse_all(ZOO.losses, BASE))


def test_a_setting_of_the_zoo_is_one_that_its_losses_heed() -> None:
    for variant in parse_all(ZOO.losses, BASE):
        (varied,) = differing(variant.settings[0], variant.settings[1])
        setting = variant.settings[0]
        heeded = {"learning_rate"}
        for name in {setting.loss, setting.labelled} - {"none"}:
            heeded |= set(LOSSES[name].settings.values())
        if "none" not in (setting.loss, setting.labelled):
            heeded.add("labelled_weight")
        assert varied in heeded, variant.name


def test_every_choice_of_a_loss_can_be_written() -> None:
    for name in (*CHOICES["loss"], *CHOICES["labelled"]):
        if name != "none":
            assert name in (only(name).loss, only(name).labelled)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("losses = [", "not a study"),
        ('losses = ["rows", "both"]', "not a study: 'questions'"),
        ('losses = ["rows"]\nseeds = 3\nquestions = []', "seeds is unknown"),
        ('losses = ["rows"]\nquestions = []\n[base]\nepoch = 3', "epoch"),
        (
            'losses = ["rows", "pooled"]\nquestions = [{text = "?", contrasts = [["both", "rows"]]}]',
            "'both', which is not among",
        ),
    ],
)
def test_a_file_that_is_no_study(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "study.toml").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=rf"study\.toml: .*{message}"):
        read_study(tmp_path / "study.toml")
