import hashlib
import subprocess
import sys
import textwrap
from importlib.metadata import EntryPoint, version
from types import SimpleNamespace

import pytest
import torch
from torch_fidelity import FeatureExtractorInceptionV3

from bench.components import registry
from bench.files import CorruptFileError
from bench.inception import INCEPTION_FILES
from bench.metrics import classifier, extractors
from bench.metrics.cache import read_or_compute
from bench.metrics.extractors import Extractor, in_domain, inception_weights, load_extractor, train_classifier
from bench.metrics.scores import FeatureSets, reference


@pytest.fixture
def quick(monkeypatch):
    """Training in a few steps, for tests of everything but accuracy."""
    monkeypatch.setattr(classifier, "default_steps", lambda size, channels: 5)


def noise(*shape):
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_the_digits_classifier_reaches_97_percent_on_held_out_digits(digits, held_out):
    assert held_out.embedding.shape == (400, 64)
    assert held_out.embedding.dtype == held_out.logits.dtype == torch.float32
    assert (held_out.logits.argmax(1) == digits.labels["test"]).float().mean() >= 0.97
    assert (held_out.embedding.std(0) > 1e-3).all(), "dead features"


def test_training_is_bit_deterministic_and_leaves_the_global_stream_and_threads_alone(digits, quick):
    images, labels = digits.images["train"], digits.labels["train"]
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    first = train_classifier(images, labels, seed=0)
    assert torch.equal(before, torch.get_rng_state())
    torch.rand(3)
    torch.set_num_threads(threads + 1)
    try:
        assert train_classifier(images, labels, seed=0).digest == first.digest
        assert torch.get_num_threads() == threads + 1
    finally:
        torch.set_num_threads(threads)
    assert train_classifier(images, labels, seed=1).digest != first.digest


def test_features_do_not_depend_on_the_other_images(digits, extractor, held_out):
    alone = extractor.features(digits.images["test"][:1])
    torch.testing.assert_close(alone.embedding, held_out.embedding[:1])


@pytest.mark.parametrize("shape", [(1, 4, 4), (1, 28, 28), (3, 32, 32), (3, 12, 20)])
def test_other_image_shapes(shape):
    images = noise(20, *shape)
    features = train_classifier(images, torch.arange(20) % 3, seed=0, steps=2).features(images)
    assert features.embedding.shape == (20, 64)
    assert features.logits.shape == (20, 3)


def test_shifted_images_keep_their_pixels_or_lose_them_over_the_edge():
    images = torch.zeros(200, 1, 8, 8, dtype=torch.uint8)
    images[:, 0, 4, 4] = 255
    shifted = classifier._shift(images, 1, torch.Generator().manual_seed(0))
    rows, columns = shifted[:, 0].nonzero()[:, 1:].T
    assert len(rows) == 200
    assert set(rows.tolist()) == set(columns.tolist()) == {3, 4, 5}


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        (torch.zeros(4, 1, 8, 8), torch.tensor([0, 1, 0, 1])),
        (noise(4, 1, 8, 8), torch.tensor([0, 1, 0])),
        (noise(4, 1, 8, 8), torch.zeros(4, dtype=torch.long)),
        (noise(4, 1, 8, 8), torch.tensor([0, 1, 0, -1])),
        (noise(4, 1, 2, 2), torch.tensor([0, 1, 0, 1])),
    ],
)
def test_nothing_to_learn_is_refused(images, labels):
    with pytest.raises(ValueError, match=r"images|labels"):
        train_classifier(images, labels, seed=0, steps=1)


def test_images_of_another_shape_or_type_are_refused(digits, extractor):
    test = digits.images["test"]
    for images in (test.expand(-1, 3, -1, -1), test[:0], test.float()):
        with pytest.raises(ValueError, match="images"):
            extractor.features(images)


def test_the_second_call_loads_what_the_first_trained(digits, quick, tmp_path, monkeypatch):
    first = load_extractor("digits-cnn", digits.dataset, tmp_path / "new", None)
    monkeypatch.setattr(classifier, "fit", None)  # a second training would fail
    second = load_extractor("digits-cnn", digits.dataset, tmp_path / "new", None)
    images, labels = digits.images["test"], digits.labels["test"]
    seen = first.features(images)
    assert first.name == second.name == "digits-cnn"
    assert first.digest == second.digest
    assert torch.equal(seen.embedding, second.features(images).embedding)
    right = (seen.logits.argmax(1) == labels).double().mean().item()
    assert first.accuracy == second.accuracy == pytest.approx(right, abs=1e-7)
    key = FeatureSets(seen, reference(digits.images["train"], first, "digits", "train")).key
    assert f"({first.accuracy:.1%} right on held-out images)" in key


def test_the_cache_is_keyed_by_content(digits, quick, tmp_path):
    images, labels = digits.dataset.splits, digits.dataset.labels
    changed = images | {"train": images["train"].copy()}
    changed["train"][0, 0, 0, 0] += 1
    flipped = labels | {"train": labels["train"][::-1].copy()}
    for digest, splits, classes in [
        ("one", images, labels),
        ("two", images, labels),
        ("one", changed, labels),
        ("one", images, flipped),
        ("one", images, labels),
    ]:
        dataset = SimpleNamespace(name="digits", digest=digest, levels=256, splits=splits, labels=classes)
        in_domain(dataset, tmp_path, None)
    assert len(list(tmp_path.iterdir())) == 4


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty"])
def test_a_damaged_cache_file_is_named_and_computed_again(tmp_path, damage):
    path, tensors = tmp_path / "kept", {"x": torch.arange(100.0)}
    read_or_compute(path, lambda: tensors)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes({"truncated": content[: len(content) // 2], "flipped": content, "empty": b""}[damage])
    with pytest.warns(UserWarning, match="kept.* is corrupt .*; it is computed again"):
        assert torch.equal(read_or_compute(path, lambda: tensors)["x"], tensors["x"])
    assert torch.equal(read_or_compute(path, dict)["x"], tensors["x"])  # read, and without a warning


def test_two_processes_at_once_leave_one_whole_file(tmp_path):
    code = textwrap.dedent("""
        import sys, numpy as np
        from pathlib import Path
        from types import SimpleNamespace
        from bench.metrics import classifier
        from bench.metrics.extractors import in_domain
        classifier.default_steps = lambda size, channels: 5
        images = dict.fromkeys(("train", "test"), np.random.default_rng(0).integers(0, 256, (64, 1, 8, 8), np.uint8))
        labels = dict.fromkeys(images, np.arange(64) % 4)
        noise = SimpleNamespace(name="noise", digest="d", levels=256, splits=images, labels=labels)
        print(in_domain(noise, Path(sys.argv[1]), None).digest)
    """)
    command = [sys.executable, "-c", code, str(tmp_path)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    digests = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert digests[0] == digests[1] != ""
    assert len(list(tmp_path.iterdir())) == 1


def test_a_foreign_extractor_is_found_by_its_name(digits, plain, tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "mine", lambda *_: plain, raising=False)
    point = EntryPoint("mine", f"{__name__}:mine", "gebm_bench.extractors")
    monkeypatch.setattr(registry, "entry_points", lambda group: [point] if "extractors" in group else [])
    registry.entries.cache_clear()
    try:
        found = load_extractor("mine", digits.dataset, tmp_path, None)
    finally:
        registry.entries.cache_clear()
    assert isinstance(found, Extractor)
    assert found.features(noise(12, 1, 1, 2)).embedding.shape == (12, 2)


def test_without_weights_there_is_no_inception_and_other_weights_are_never_opened(digits, tmp_path):
    assert inception_weights(tmp_path) is None
    with pytest.raises(FileNotFoundError, match="weights"):
        load_extractor("inception-v3-compat", digits.dataset, tmp_path, tmp_path)
    (tmp_path / INCEPTION_FILES[0]).write_bytes(b"cut off")
    with pytest.raises(CorruptFileError, match="not the published"):
        inception_weights(tmp_path)


def test_inception_takes_greyscale(digits, tmp_path, monkeypatch):
    """With random weights, which our own hash has to be told to accept."""
    path = tmp_path / INCEPTION_FILES[1]
    with monkeypatch.context() as patch:
        patch.setattr("torch_fidelity.feature_extractor_inceptionv3.load_state_dict_from_url", lambda *_, **__: {})
        patch.setattr(FeatureExtractorInceptionV3, "load_state_dict", lambda *_: None)
        with torch.random.fork_rng(devices=[]):
            torch.save(FeatureExtractorInceptionV3("inception-v3-compat", ["2048"]).state_dict(), path)
    monkeypatch.setattr(extractors, "INCEPTION_SHA256", hashlib.sha256(path.read_bytes()).hexdigest())
    found = load_extractor("inception-v3-compat", digits.dataset, tmp_path, tmp_path)
    images = noise(2, 1, 8, 8)
    grey, colour = found.features(images), found.features(images.repeat(1, 3, 1, 1))
    assert (found.name, found.library) == ("inception-v3-compat", f"torch-fidelity={version('torch-fidelity')}")
    assert grey.embedding.shape == (2, 2048)
    assert grey.logits.shape == (2, 1008)
    assert torch.equal(grey.embedding, colour.embedding)
