import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_prc import prc_features_to_metric

from bench.metrics import frechet, metric, samples, scores
from bench.metrics.extractors import Features
from bench.metrics.frechet import Moments, extrapolated, frechet_curve, frechet_distance
from bench.metrics.scores import FeatureSets, reference


def normal(count, width=8, seed=0):
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed))


def one_hot_logits(classes, n_classes=10):
    return 50 * torch.nn.functional.one_hot(torch.as_tensor(classes), n_classes).float()


# Fréchet distance


def test_a_set_is_at_distance_zero_from_itself(real):
    scale = real.moments.covariance.trace().item()
    assert frechet_distance(real.moments, real.moments) == pytest.approx(0, abs=1e-6 * scale)


variances = st.lists(st.floats(0.01, 100), min_size=5, max_size=5)


@given(variances, variances, st.lists(st.floats(-10, 10), min_size=5, max_size=5))
@settings(deadline=None, max_examples=50)
def test_gaussians_with_diagonal_covariances_have_a_closed_form(first, second, shift):
    a = Moments(torch.zeros(5).double(), torch.diag(torch.tensor(first).double()))
    b = Moments(torch.tensor(shift).double(), torch.diag(torch.tensor(second).double()))
    expected = sum(d * d for d in shift)
    expected += sum((math.sqrt(v) - math.sqrt(w)) ** 2 for v, w in zip(first, second, strict=True))
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-4, abs=1e-4)  # variances were rounded to float32
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-9, abs=1e-9)


@pytest.mark.parametrize(("width", "count"), [(1, 30), (16, 400), (32, 20)], ids=["scalar", "full rank", "singular"])
def test_the_symmetric_route_gives_torch_fidelitys_distance(width, count):
    """In the singular case both covariances have rank 19 of 32; rounded eigenvalues of 0 count √ε each, in either route."""
    mixing = torch.linspace(0.1, 2, width)
    first, second = (Moments.of(normal(count, width, seed) * mixing + seed * 0.1) for seed in (0, 1))
    statistics = [{"mu": m.mean.numpy(), "sigma": m.covariance.numpy()} for m in (first, second)]
    expected = fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]
    assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("rows", [7, 500, 501])
def test_moments_summed_in_parts_are_those_of_all_at_once(rows, monkeypatch):
    """Far from the origin, where sums of plain squares would lose eight of sixteen digits."""
    monkeypatch.setattr(frechet, "ROWS_AT_ONCE", rows)
    embedding = normal(500, 12) * torch.linspace(0.1, 2, 12) + 1e4
    found, expected = Moments.of(embedding), fid_features_to_statistics(embedding.double())
    assert found.mean.numpy() == pytest.approx(expected["mu"], rel=1e-12)
    scale = expected["sigma"].diagonal() ** 0.5
    assert found.covariance.numpy() / scale == pytest.approx(expected["sigma"] / scale, rel=1e-10, abs=1e-10)


class Doubles(TorchDispatchMode):
    """Elements and devices of the float64 tensors that operations make."""

    def __init__(self):
        super().__init__()
        self.made = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor) and result.dtype == torch.float64:
            self.made.append((result.numel(), result.device.type))
        return result


def test_a_curve_makes_no_copy_of_all_embeddings_in_float64(monkeypatch):
    monkeypatch.setattr(frechet, "ROWS_AT_ONCE", 50)
    generated, real = normal(1000, 16), Moments.of(normal(500, 16, seed=1))
    with Doubles() as doubles:
        frechet_curve(generated, real)
    assert max(size for size, _ in doubles.made) == 50 * 16


def test_moments_are_summed_on_the_device_and_come_back_from_it():
    """On a simulated GPU: tensors without numbers."""
    with FakeTensorMode(), Doubles() as doubles:
        found = Moments.of(torch.zeros(30, 3), torch.device("cuda", 0))
    assert {where for size, where in doubles.made if size == 30 * 3} == {"cuda"}
    assert (found.mean.device.type, found.covariance.device.type) == ("cpu", "cpu")


def test_the_curve_ends_at_the_distance_of_all_images_and_averages_prefixes_of_ten_orders():
    generated, real = normal(300), Moments.of(normal(2000, seed=1))
    curve = frechet_curve(generated, real)
    sizes = [size for size, _ in curve]
    assert sizes == [30, 98, 165, 232, 300]
    assert curve[-1][1] == frechet_distance(Moments.of(generated), real)
    generator = torch.Generator().manual_seed(2020)
    orders = [torch.randperm(300, generator=generator) for _ in range(10)]
    expected = [
        sum(frechet_distance(Moments.of(generated[order[:size]]), real) for order in orders) / 10 for size in sizes
    ]
    assert [distance for _, distance in curve] == pytest.approx(expected, rel=1e-9)
    few, more = (frechet_curve(normal(count, 64), Moments.of(normal(100, 64, 1))) for count in (40, 400))
    assert (few[0][0], more[0][0]) == (20, 128), "wide features start at half of few images, else at twice the width"


def test_extrapolation_is_exact_on_a_bias_of_one_over_n():
    assert extrapolated([(n, 3.5 + 40 / n) for n in (10, 20, 50)]) == pytest.approx(3.5, abs=1e-12)


def test_infinity_hardly_depends_on_the_order_of_the_images():
    """At N = 500 a single order moves it by 0.14 (standard deviation), the mean of ten by a third of that."""
    generated, real = normal(500, 64), Moments.of(normal(2000, 64, 1))
    shuffled = [generated[torch.randperm(500, generator=torch.Generator().manual_seed(seed))] for seed in range(20)]
    spread = torch.tensor([extrapolated(frechet_curve(each, real)) for each in shuffled]).std()
    assert spread < 0.07


def test_infinity_is_nearer_the_truth_than_the_distance():
    """1,000 draws against the law itself, in 32 dimensions, over 20 seeds: the truth is 0, the bias of FID about 0.28."""
    real = Moments(torch.zeros(32).double(), torch.eye(32).double())
    curves = [frechet_curve(normal(1000, 32, seed), real) for seed in range(20)]
    plain = sum(curve[-1][1] for curve in curves) / 20
    infinite = sum(extrapolated(curve) for curve in curves) / 20
    assert plain > 0.2
    assert abs(infinite) < 0.2 * plain


# Kernel distance


def test_kernel_distance_is_unbiased(compare, monkeypatch):
    """Over random halves of one set the expectation is exactly 0; |z| > 4 is a false alarm once in 16,000 seeds.

    A biased estimate would fail: it is about 2/n = 0.04 times the kernel's diagonal too high, tens of standard errors.
    """
    monkeypatch.setattr(samples, "KID_SUBSETS", 1)
    x, generator = normal(100, 4), torch.Generator().manual_seed(2)
    values = []
    for _ in range(300):
        order = torch.randperm(100, generator=generator)
        values.append(samples.kid(compare(x[order[:50]], x[order[50:]])))
    values = torch.tensor(values)
    error = values.std() / math.sqrt(len(values))
    assert abs(values.mean()) < 4 * error
    assert samples.kid(compare(x[:50], x[50:] + 1)) > 4 * values.std()


# Inception Score


@given(st.integers(0, 2**31), st.floats(0, 30), st.integers(2, 12))
@settings(deadline=None, max_examples=50)
def test_inception_score_lies_between_one_and_the_number_of_classes(compare, seed, scale, n_classes):
    sets = compare(normal(40), normal(40), scale * normal(40, n_classes, seed), normal(40, n_classes))
    assert 1 - 1e-9 <= samples.inception_score(sets) <= n_classes + 1e-9


def test_inception_score_reaches_both_ends(compare, monkeypatch):
    monkeypatch.setattr(samples, "ISC_SPLITS", 1)
    x = normal(100)
    for classes, expected in ((torch.arange(100) % 10, 10), ([3] * 100, 1)):
        assert samples.inception_score(compare(x, x, *[one_hot_logits(classes)] * 2)) == pytest.approx(expected)


# Precision, recall, coverage


@pytest.mark.parametrize("rows", [7, 1000])
def test_precision_and_recall_in_parts_are_torch_fidelitys(rows, compare, monkeypatch):
    monkeypatch.setattr(scores, "_ROWS", rows)
    generated, real = normal(60, 4), normal(90, 4, seed=1) * 1.2 + 1
    theirs = prc_features_to_metric(generated, real, prc_neighborhood=3, verbose=False)
    sets = compare(generated, real)
    assert (samples.precision(sets), samples.recall(sets)) == (theirs["precision"], theirs["recall"])
    assert 0.3 < theirs["recall"] < 1 > theirs["precision"] > 0.3


def test_precision_and_recall_do_not_depend_on_where_the_origin_is(compare):
    generated, real = normal(200, 4), normal(300, 4, seed=1) * 1.2 + 1
    near, far = compare(generated, real), compare(generated + 1000, real + 1000)
    assert samples.precision(far) == pytest.approx(samples.precision(near), abs=0.011)
    assert samples.recall(far) == pytest.approx(samples.recall(near), abs=0.011)


def test_a_set_has_full_precision_and_recall_on_itself_and_none_far_away(compare):
    x = normal(50)
    for generated, expected in ((x, 1), (x + 100, 0)):
        assert samples.precision(compare(generated, x)) == samples.recall(compare(generated, x)) == expected


@pytest.mark.parametrize(("kept", "collapsed"), [(1, True), (4, True), (6, False), (10, False)])
def test_dropped_classes_lower_recall_not_precision_and_end_in_a_collapse(kept, collapsed, digits, held_out, real):
    """Held-out digits of the first k classes only."""
    rows = digits.labels["test"] < kept
    sets = FeatureSets(Features(held_out.embedding[rows], held_out.logits[rows]), real)
    assert bool(sets.collapse) is collapsed
    assert samples.precision(sets) > 0.85
    assert samples.recall(sets) > 0.85 if kept == 10 else samples.recall(sets) < 0.65


def test_a_generator_of_one_image_is_scored_and_called_collapsed(digits, extractor, real):
    sets = FeatureSets(extractor.features(digits.images["test"][:1].expand(200, -1, -1, -1)), real)
    assert sets.collapse == "1 of 10 classes (collapsed)"
    found = sets.scores()
    assert found["classes[digits-cnn]"] == 1
    assert found["is[digits-cnn]"] == pytest.approx(1)
    assert found["recall[digits-cnn]"] < 0.05
    assert all(math.isfinite(value) for value in found.values())


@pytest.mark.parametrize(
    ("generated", "covered", "collapsed"),
    [([0] * 90 + [1] * 10, 2, False), ([0] * 91 + [1] * 9, 1, False), ([7] * 100, 0, True)],
    ids=["a fifth of its share", "less", "a class that the real images do not have"],
)
def test_a_class_counts_from_a_fifth_of_its_real_share(compare, generated, covered, collapsed):
    logits = one_hot_logits(generated), one_hot_logits([0] * 50 + [1] * 50)
    sets = compare(normal(100), normal(100), *logits)
    assert (sets.coverage, bool(sets.collapse)) == ((covered, 2), collapsed)


@pytest.mark.parametrize(
    ("generated", "shift"),
    [([0] * 5 + [1] * 5, 0), ([1, 0] * 50, 0), ([0] * 8 + [1] * 2, 0.3), ([7] * 10, 1)],
    ids=["as real", "as real, another number", "three of ten too many", "another class"],
)
def test_class_shift_is_the_share_that_would_have_to_change(compare, generated, shift):
    logits = one_hot_logits(generated), one_hot_logits([0] * 50 + [1] * 50)
    sets = compare(normal(len(generated)), normal(100), *logits)
    assert samples.class_shift(sets) == pytest.approx(shift)


def test_class_shift_of_equal_laws_is_about_what_is_said(compare):
    generated, real = (torch.randint(10, (n,), generator=torch.Generator().manual_seed(n)) for n in (1000, 50_000))
    sets = compare(normal(1000), normal(50_000), one_hot_logits(generated), one_hot_logits(real))
    assert samples.class_shift(sets) == pytest.approx(0.04, abs=0.015)


# The whole score


def test_scores_are_torch_fidelitys_named_after_the_extractor(digits, extractor, held_out, real):
    """KID, Inception Score, precision and recall are its own functions or held to them above; here the features' way into them."""
    found = FeatureSets(held_out, real).scores()
    names = ("fd", "fd-infinity", "is", "kid", "precision", "recall", "classes")
    assert list(found) == [f"{name}[digits-cnn]" for name in names]
    assert all(math.isfinite(value) and metric(name) for name, value in found.items())
    parts = ([extractor.module(part)[0] for part in digits.images[split].split(128)] for split in ("test", "train"))
    statistics = [fid_features_to_statistics(torch.cat(each).double()) for each in parts]
    theirs = fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]
    assert found["fd[digits-cnn]"] == pytest.approx(theirs, rel=1e-6)


def test_a_key_says_in_one_line_all_that_scores_depend_on(extractor, held_out, real):
    assert FeatureSets(held_out, real).key == (
        f"400 generated vs 1,397 real (digits/train {real.digest[:8]}), digits-cnn {extractor.digest[:8]}, resize none, float32, "
        f"torch-fidelity {scores.torch_fidelity.__version__}, ∞ from 128 to 400 in 5×10, KID 10×400, IS 10 splits, P/R k=3, seed 2020"
    )


def test_held_out_digits_score_better_than_noise(digits, extractor, held_out, real):
    noise = torch.randint(0, 256, (400, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    good, bad = (FeatureSets(features, real).scores() for features in (held_out, extractor.features(noise)))
    for name in ("fd", "fd-infinity", "is", "kid", "precision", "recall"):
        better, worse = good[f"{name}[digits-cnn]"], bad[f"{name}[digits-cnn]"]
        assert better < worse if metric(name).direction == "lower" else better > worse


def test_the_cache_of_references_changes_no_number_and_goes_by_content(digits, extractor, held_out, real, tmp_path):
    without = FeatureSets(held_out, real)
    for _ in range(2):  # computed, then read
        sets = FeatureSets(held_out, reference(digits.images["train"], extractor, "digits", "train", tmp_path))
        assert (sets.scores(), sets.key, sets.curve) == (without.scores(), without.key, without.curve)
    renamed = reference(digits.images["train"], extractor, "zahlen", "alle", tmp_path)
    assert torch.equal(renamed.moments.mean, real.moments.mean)
    assert len(list(tmp_path.iterdir())) == 1
    other = reference(digits.images["test"], extractor, "digits", "train", tmp_path)
    assert other.digest != real.digest
    assert not torch.equal(other.moments.mean, real.moments.mean)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_cached_reference_is_of_the_library_that_its_features_come_from(plain, tmp_path):
    images = torch.randint(0, 256, (20, 1, 1, 2), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    for library, entries in (
        ("", 1),
        ("torch-fidelity=0.3.0", 2),
        ("torch-fidelity=0.4.0", 3),
        ("torch-fidelity=0.3.0", 3),
    ):
        reference(images, replace(plain, library=library), "digits", "train", tmp_path)
        assert len(list(tmp_path.iterdir())) == entries


def test_what_cannot_be_compared_is_refused_with_what_is_needed(compare, digits, extractor):
    logits = normal(20, 2)
    for generated, seen, message in [
        (normal(9), logits[:9], "at least 10 generated images"),
        (normal(20, 5), logits, "embedding of width 5 and 8 come from different extractors"),
        (normal(20), normal(20, 3), "logits of width 3 and 2 come from different extractors"),
        (normal(20) * math.nan, logits, "finite"),
    ]:
        with pytest.raises(ValueError, match=message):
            compare(generated, normal(20), seen, logits)
    with pytest.raises(ValueError, match="at least 4 images"):
        reference(digits.images["test"][:3], extractor, "digits", "test")
    with pytest.raises(ValueError, match="the same images"):
        Features(normal(50), normal(49))
