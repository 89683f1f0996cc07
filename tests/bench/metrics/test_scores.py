import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import TypeCheckError
from torch_fidelity.metric_fid import fid_statistics_to_metric
from torch_fidelity.metric_prc import prc_features_to_metric

from bench.metrics import metric, scores
from bench.metrics.extractors import Features
from bench.metrics.scores import (
    Moments,
    ball_radii,
    class_coverage,
    collapsed,
    extrapolated,
    frechet_curve,
    frechet_distance,
    inception_score,
    kernel_distance,
    precision_recall,
    reference,
    score,
)
from bench.metrics.sealed import CorruptCacheWarning

REFUSED = (ValueError, TypeCheckError)  # the second where shapes in signatures are checked


def normal(count, width=8, seed=0):
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed))


def one_hot_logits(classes, n_classes=10):
    return 50 * torch.nn.functional.one_hot(torch.as_tensor(classes), n_classes).float()


# Fréchet distance


def test_a_set_is_at_distance_zero_from_itself(digits, extractor):
    moments = Moments.of(extractor.features(digits.train.images).embedding)
    assert frechet_distance(moments, moments) == pytest.approx(0, abs=1e-6 * moments.covariance.trace().item())


def test_a_shift_costs_its_squared_length():
    x, shift = normal(500), normal(1, seed=1)
    distance = frechet_distance(Moments.of(x), Moments.of(x + shift))
    assert distance == pytest.approx(shift.square().sum().item(), rel=1e-5)  # x + shift is rounded to float32


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


def test_distance_of_samples_of_two_gaussians():
    """N(0, I) against N(μ, I), 20,000 draws each: ‖μ‖² = 2 within 0.1 (its standard deviation is about 0.03)."""
    distance = frechet_distance(Moments.of(normal(20_000)), Moments.of(normal(20_000, seed=1) + 0.5))
    assert distance == pytest.approx(2, abs=0.1)


def test_order_and_direction_do_not_matter():
    x, y = normal(300), 2 * normal(300, seed=1)
    there = frechet_distance(Moments.of(x), Moments.of(y))
    back = frechet_distance(Moments.of(y.flip(0)), Moments.of(x[torch.randperm(300)]))
    assert there == pytest.approx(back, rel=1e-9)


@pytest.mark.parametrize(("width", "count"), [(1, 30), (16, 400), (32, 20)], ids=["scalar", "full rank", "singular"])
def test_the_symmetric_route_gives_torch_fidelitys_distance(width, count):
    """In the singular case both covariances have rank 19 of 32; rounded eigenvalues of 0 count √ε each, in either route."""
    mixing = torch.linspace(0.1, 2, width)
    first, second = (Moments.of(normal(count, width, seed) * mixing + seed * 0.1) for seed in (0, 1))
    statistics = [{"mu": m.mean.numpy(), "sigma": m.covariance.numpy()} for m in (first, second)]
    expected = fid_statistics_to_metric(*statistics, verbose=False)["frechet_inception_distance"]
    assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-6, abs=1e-6)


def test_the_curve_ends_at_the_distance_of_all_images_and_is_that_of_prefixes():
    generated, real = normal(300), Moments.of(normal(2000, seed=1))
    curve = frechet_curve(generated, real)
    sizes = [size for size, _ in curve]
    assert sizes == [30, 60, 90, 120, 150, 180, 210, 240, 270, 300]
    assert curve[-1][1] == frechet_distance(Moments.of(generated), real)
    order = torch.randperm(300, generator=torch.Generator().manual_seed(2020))
    expected = [frechet_distance(Moments.of(generated[order[:size]]), real) for size in sizes]
    assert [distance for _, distance in curve] == pytest.approx(expected, rel=1e-9)


def test_few_images_of_wide_features_start_at_half():
    assert frechet_curve(normal(40, 64), Moments.of(normal(100, 64, 1)))[0][0] == 20
    assert frechet_curve(normal(400, 64), Moments.of(normal(100, 64, 1)))[0][0] == 128
    assert [size for size, _ in frechet_curve(normal(3), Moments.of(normal(100, seed=1)))] == [2, 3]


def test_extrapolation_is_exact_on_a_bias_of_one_over_n():
    assert extrapolated([(n, 3.5 + 40 / n) for n in (10, 20, 50)]) == pytest.approx(3.5, abs=1e-12)
    with pytest.raises(ValueError, match="two sizes at least"):
        extrapolated([(10, 1.0)])


def test_infinity_is_nearer_the_truth_than_the_distance():
    """1,000 draws against the law itself, in 32 dimensions, over 20 seeds: the truth is 0, the bias of FID about 0.28."""
    real = Moments(torch.zeros(32).double(), torch.eye(32).double())
    curves = [frechet_curve(normal(1000, 32, seed), real) for seed in range(20)]
    plain = sum(curve[-1][1] for curve in curves) / 20
    infinite = sum(extrapolated(curve) for curve in curves) / 20
    assert plain > 0.2
    assert abs(infinite) < 0.2 * plain


# Kernel distance


def test_kernel_distance_is_unbiased():
    """Over random halves of one set the expectation is exactly 0; |z| > 4 is a false alarm once in 16,000 seeds.

    A biased estimate would fail: it is about 2/n = 0.04 times the kernel's diagonal too high, tens of standard errors.
    """
    x, generator = normal(100, 4), torch.Generator().manual_seed(2)
    values = []
    for _ in range(300):
        order = torch.randperm(100, generator=generator)
        values.append(kernel_distance(x[order[:50]], x[order[50:]], subsets=1, subset_size=50))
    values = torch.tensor(values)
    error = values.std() / math.sqrt(len(values))
    assert abs(values.mean()) < 4 * error
    assert kernel_distance(x[:50], x[50:] + 1, subsets=1, subset_size=50) > 4 * values.std()


# Inception Score


@given(st.integers(0, 2**31), st.floats(0, 30), st.integers(2, 12))
@settings(deadline=None, max_examples=50)
def test_inception_score_lies_between_one_and_the_number_of_classes(seed, scale, n_classes):
    value = inception_score(scale * normal(40, n_classes, seed), splits=2)
    assert 1 - 1e-9 <= value <= n_classes + 1e-9


def test_inception_score_reaches_both_ends():
    assert inception_score(one_hot_logits(torch.arange(100) % 10), splits=1) == pytest.approx(10)
    assert inception_score(one_hot_logits([3] * 100), splits=10) == pytest.approx(1)


# Precision, recall, coverage


def test_dropping_modes_lowers_recall_and_not_precision(digits, extractor):
    real = extractor.features(digits.train.images).embedding
    seen, labels = extractor.features(digits.test.images).embedding, digits.test.labels
    precision, recall = precision_recall(seen, real)
    precision_half, recall_half = precision_recall(seen[labels < 5], real)
    assert recall > 0.85
    assert recall_half < 0.65
    assert min(precision, precision_half) > 0.85


@pytest.mark.parametrize("rows", [7, 1000])
def test_precision_and_recall_in_parts_are_torch_fidelitys(rows, monkeypatch):
    monkeypatch.setattr(scores, "_ROWS", rows)
    generated, real = normal(60, 4), normal(90, 4, seed=1) * 1.2 + 1
    theirs = prc_features_to_metric(generated, real, prc_neighborhood=3, verbose=False)
    assert precision_recall(generated, real) == (theirs["precision"], theirs["recall"])
    assert 0.3 < theirs["recall"] < 1 > theirs["precision"] > 0.3
    assert precision_recall(generated, real, ball_radii(real)) == precision_recall(generated, real)


def test_a_set_has_full_precision_and_recall_on_itself_and_none_far_away():
    x = normal(50)
    assert precision_recall(x, x) == (1, 1)
    assert precision_recall(x + 100, x) == (0, 0)


def test_collapse_is_seen(digits, extractor):
    real = extractor.features(digits.train.images)
    for n_classes, expected in ((1, True), (4, True), (6, False), (10, False)):
        generated = extractor.features(digits.test.images[digits.test.labels < n_classes])
        assert collapsed(generated, real) is expected, n_classes
    assert collapsed(extractor.features(digits.test.images[digits.test.labels == 3]), real)


def test_a_generator_of_one_image_is_scored_and_called_collapsed(digits, extractor):
    one = extractor.features(digits.test.images[:1].expand(200, -1, -1, -1))
    scores = score(one, reference(digits.train.images, extractor, "digits", "train"))
    assert scores.coverage.collapsed
    assert "collapsed" in str(scores.coverage)
    assert scores.values["classes[digits-cnn]"] == 1
    assert scores.values["is[digits-cnn]"] == pytest.approx(1)
    assert scores.values["recall[digits-cnn]"] < 0.05
    assert all(math.isfinite(value) for value in scores.values.values())


def test_a_class_counts_from_a_fifth_of_its_real_share():
    real = one_hot_logits([0] * 50 + [1] * 50)
    assert class_coverage(one_hot_logits([0] * 90 + [1] * 10), real).covered == 2
    assert class_coverage(one_hot_logits([0] * 91 + [1] * 9), real).covered == 1
    coverage = class_coverage(one_hot_logits([7] * 100), real)  # a class that the real images do not have
    assert (coverage.covered, coverage.real) == (0, 2)
    assert not class_coverage(one_hot_logits([0] * 100), real).collapsed  # exactly half


# The whole score


def test_scores_are_named_after_the_extractor_and_carry_their_key(digits, extractor):
    scores = score(extractor.features(digits.test.images), reference(digits.train.images, extractor, "digits", "train"))
    assert set(scores.values) == {
        f"{name}[digits-cnn]" for name in ("fd", "fd-infinity", "is", "kid", "precision", "recall", "classes")
    }
    assert all(math.isfinite(value) and metric(name) for name, value in scores.values.items())
    key = scores.key
    assert (key.n_real, key.n_generated, key.kid_subset_size) == (1397, 400, 400)
    assert key.extractor_digest == extractor.digest


def test_held_out_digits_score_better_than_noise(digits, extractor):
    real = reference(digits.train.images, extractor, "digits", "train")
    shape = digits.test.images.shape
    noise = torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    good, bad = (score(extractor.features(images), real).values for images in (digits.test.images, noise))
    for name in ("fd", "fd-infinity", "is", "kid", "precision", "recall"):
        better, worse = good[f"{name}[digits-cnn]"], bad[f"{name}[digits-cnn]"]
        assert better < worse if metric(name).direction == "lower" else better > worse


def test_the_cache_of_references_changes_no_number(digits, extractor, tmp_path):
    generated = extractor.features(digits.test.images)
    without = score(generated, reference(digits.train.images, extractor, "digits", "train"))
    for _ in range(2):  # computed, then read
        cached = score(generated, reference(digits.train.images, extractor, "digits", "train", tmp_path))
        assert cached == without
    assert len(list(tmp_path.iterdir())) == 1


def test_references_are_found_by_content_and_not_by_name(digits, extractor, tmp_path):
    train = reference(digits.train.images, extractor, "digits", "train", tmp_path)
    other = reference(digits.test.images, extractor, "digits", "train", tmp_path)
    assert other.digest != train.digest
    assert not torch.equal(other.moments.mean, train.moments.mean)
    renamed = reference(digits.train.images, extractor, "zahlen", "alle", tmp_path)
    assert torch.equal(renamed.moments.mean, train.moments.mean)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_damaged_reference_is_named_and_computed_again(digits, extractor, tmp_path):
    call = (digits.test.images, extractor, "digits", "test", tmp_path)
    whole = reference(*call)
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.warns(CorruptCacheWarning, match=path.name):
        again = reference(*call)
    assert torch.equal(again.moments.covariance, whole.moments.covariance)


@pytest.mark.parametrize(
    ("what", "needed"),
    [
        (lambda: Moments.of(normal(1)), "at least 2 images"),
        (lambda: inception_score(normal(9), splits=10), "at least 10 images"),
        (lambda: inception_score(normal(9), splits=0), "at least one split"),
        (lambda: kernel_distance(normal(5), normal(20), 1, 10), "at least 10 images"),
        (lambda: kernel_distance(normal(5), normal(20), 1, 1), "at least 2 images"),
        (lambda: precision_recall(normal(20), normal(3)), "at least 4 images"),
        (lambda: class_coverage(normal(0), normal(3)), "at least 1 image "),
        (lambda: Moments.of(normal(5) * math.nan), "finite"),
    ],
)
def test_too_little_is_refused_with_what_is_needed(what, needed):
    with pytest.raises(ValueError, match=needed):
        what()


def test_features_of_different_extractors_do_not_mix(digits, extractor):
    real = reference(digits.test.images, extractor, "digits", "test")
    with pytest.raises(REFUSED):
        score(Features(normal(50, 32), normal(50, 10)), real)
    with pytest.raises(REFUSED):
        Features(normal(50), normal(49))
