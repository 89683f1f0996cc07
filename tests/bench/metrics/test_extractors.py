import hashlib
import subprocess
import sys
import textwrap

import pytest
import torch
from jaxtyping import TypeCheckError
from torch_fidelity import FeatureExtractorInceptionV3, calculate_metrics

from bench.core.files import CorruptFileError
from bench.metrics import classifier, extractors
from bench.metrics.extractors import INCEPTION_FILES, inception, load_or_train, train_classifier
from bench.metrics.scores import reference, score
from bench.metrics.sealed import CorruptCacheWarning

REFUSED = (ValueError, TypeCheckError)  # the second where shapes in signatures are checked


class Images(torch.utils.data.Dataset):
    def __init__(self, images):
        self.images = images

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        return self.images[index]


@pytest.fixture
def quick(monkeypatch):
    """Training in a few steps, for tests of everything but accuracy."""
    monkeypatch.setattr(classifier, "default_steps", lambda size: 5)


def test_the_digits_classifier_reaches_97_percent_on_held_out_digits(digits, extractor):
    features = extractor.features(digits.test.images)
    assert features.embedding.shape == (400, 64)
    assert features.embedding.dtype == features.logits.dtype == torch.float32
    accuracy = (features.logits.argmax(1) == digits.test.labels).float().mean()
    assert accuracy >= 0.97
    assert (features.embedding.std(0) > 1e-3).all(), "dead features"


def test_training_is_bit_deterministic_and_leaves_the_global_stream_and_threads_alone(digits, quick):
    images, labels = digits.train.images, digits.train.labels
    before = torch.get_rng_state()
    first = train_classifier(images, labels, seed=0)
    assert torch.equal(before, torch.get_rng_state())
    torch.rand(3)
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    try:
        assert train_classifier(images, labels, seed=0).digest == first.digest
        assert torch.get_num_threads() == threads + 1
    finally:
        torch.set_num_threads(threads)
    assert train_classifier(images, labels, seed=1).digest != first.digest


def test_features_do_not_depend_on_the_other_images(digits, extractor):
    alone = extractor.features(digits.test.images[:1])
    together = extractor.features(digits.test.images)
    torch.testing.assert_close(alone.embedding, together.embedding[:1])


@pytest.mark.parametrize("shape", [(1, 4, 4), (1, 28, 28), (3, 32, 32), (3, 12, 20)])
def test_other_image_shapes(shape):
    images = torch.randint(0, 256, (20, *shape), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
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
        (torch.zeros(4, 1, 8, 8, dtype=torch.uint8), torch.tensor([0, 1, 0])),
        (torch.zeros(4, 1, 8, 8, dtype=torch.uint8), torch.zeros(4, dtype=torch.long)),
        (torch.zeros(4, 1, 8, 8, dtype=torch.uint8), torch.tensor([0, 1, 0, -1])),
        (torch.zeros(4, 1, 2, 2, dtype=torch.uint8), torch.tensor([0, 1, 0, 1])),
    ],
)
def test_nothing_to_learn_is_refused(images, labels):
    with pytest.raises(REFUSED):
        train_classifier(images, labels, seed=0, steps=1)


def test_images_of_another_shape_or_type_are_refused(digits, extractor):
    for images in (digits.test.images.expand(-1, 3, -1, -1), digits.test.images[:0], digits.test.images.float()):
        with pytest.raises(REFUSED):
            extractor.features(images)


def test_the_second_call_loads_what_the_first_trained(digits, quick, tmp_path, monkeypatch):
    call = (tmp_path / "new", "digits", "digest", digits.train.images, digits.train.labels, 0)
    first = load_or_train(*call)
    assert first.name == "digits-cnn"
    monkeypatch.setattr(classifier, "fit", None)  # a second training would fail
    second = load_or_train(*call)
    assert second.digest == first.digest
    images = digits.test.images
    assert torch.equal(first.features(images).embedding, second.features(images).embedding)


def test_the_cache_is_keyed_by_content(digits, quick, tmp_path):
    images, labels = digits.train.images, digits.train.labels
    changed = images.clone()
    changed[0, 0, 0, 0] += 1
    files = {
        load_or_train(tmp_path, "digits", digest, pictures, classes, seed).weights
        for digest, pictures, classes, seed in [
            ("one", images, labels, 0),
            ("two", images, labels, 0),
            ("one", changed, labels, 0),
            ("one", images, labels.flip(0), 0),
            ("one", images, labels, 1),
        ]
    }
    assert len(files) == 5


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty"])
def test_a_damaged_cache_file_is_named_and_trained_again(digits, quick, tmp_path, damage):
    call = (tmp_path, "digits", "digest", digits.train.images, digits.train.labels, 0)
    whole = load_or_train(*call)
    content = bytearray(whole.weights.read_bytes())
    content[len(content) // 2] ^= 1
    cut = {"truncated": content[: len(content) // 2], "flipped": content, "empty": b""}[damage]
    whole.weights.write_bytes(cut)
    with pytest.raises(CorruptFileError):
        classifier.Classifier("digits-cnn", ["logits"], feature_extractor_weights_path=str(whole.weights))
    with pytest.warns(CorruptCacheWarning, match=whole.weights.name):
        again = load_or_train(*call)
    assert again.digest == whole.digest
    assert load_or_train(*call).digest == whole.digest  # and now without a warning


def test_two_processes_at_once_leave_one_whole_file(tmp_path):
    code = textwrap.dedent("""
        import sys, torch
        from pathlib import Path
        from bench.metrics import classifier, extractors
        classifier.default_steps = lambda size: 30
        images = torch.randint(0, 256, (64, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
        print(extractors.load_or_train(Path(sys.argv[1]), "noise", "d", images, torch.arange(64) % 4, 0).digest)
    """)
    command = [sys.executable, "-c", code, str(tmp_path)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    digests = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert digests[0] == digests[1] != ""
    assert len(list(tmp_path.iterdir())) == 1


def test_torch_fidelity_computes_the_same_from_the_same_images(digits, quick, tmp_path):
    real, generated = digits.train.images, digits.test.images
    ours = load_or_train(tmp_path, "digits", "digest", real, digits.train.labels, 0)
    theirs = calculate_metrics(
        input1=Images(generated),
        input2=Images(real),
        feature_extractor=ours.name,
        feature_extractor_weights_path=str(ours.weights),
        fid=True,
        isc=True,
        kid=True,
        prc=True,
        kid_subsets=10,
        kid_subset_size=400,
        batch_size=ours.batch_size,
        cuda=False,
        cache=False,
        save_cpu_ram=True,
        verbose=False,
    )
    values = score(ours.features(generated), reference(real, ours, "digits", "train")).values
    assert values["fd[digits-cnn]"] == pytest.approx(theirs["frechet_inception_distance"], rel=1e-6)
    assert values["kid[digits-cnn]"] == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-6)
    assert values["is[digits-cnn]"] == pytest.approx(theirs["inception_score_mean"], rel=1e-6)
    assert values["precision[digits-cnn]"] == pytest.approx(theirs["precision"], abs=2 / 400)  # float32 ties
    assert values["recall[digits-cnn]"] == pytest.approx(theirs["recall"], abs=2 / 400)


def test_a_name_that_belongs_to_another_extractor_is_refused(digits, tmp_path):
    extractors._register("mine-cnn")
    extractors._register("mine-cnn")
    with pytest.raises(ValueError, match="vgg16"):
        extractors._register("vgg16")


def test_without_weights_there_is_no_inception_and_other_weights_are_never_opened(tmp_path):
    assert inception(tmp_path) is None
    (tmp_path / INCEPTION_FILES[0]).write_bytes(b"cut off")
    with pytest.raises(CorruptFileError, match="not the published"):
        inception(tmp_path)


def test_inception_takes_greyscale(tmp_path, monkeypatch):
    """With random weights, which our own hash has to be told to accept."""
    path = tmp_path / INCEPTION_FILES[1]
    with monkeypatch.context() as patch:
        patch.setattr("torch_fidelity.feature_extractor_inceptionv3.load_state_dict_from_url", lambda *_, **__: {})
        patch.setattr(FeatureExtractorInceptionV3, "load_state_dict", lambda *_: None)
        with torch.random.fork_rng(devices=[]):
            torch.save(FeatureExtractorInceptionV3("inception-v3-compat", ["2048"]).state_dict(), path)
    monkeypatch.setattr(extractors, "INCEPTION_SHA256", hashlib.sha256(path.read_bytes()).hexdigest())
    found = inception(tmp_path)
    images = torch.randint(0, 256, (2, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    grey, colour = found.features(images), found.features(images.repeat(1, 3, 1, 1))
    assert found.name == "inception-v3-compat"
    assert grey.embedding.shape == (2, 2048)
    assert grey.logits.shape == (2, 1008)
    assert torch.equal(grey.embedding, colour.embedding)


def test_accuracy_on_held_out_images_is_stored_and_said(tmp_path, digits):
    call = (
        tmp_path,
        "digits",
        "d",
        digits.train.images,
        digits.train.labels,
        0,
        (digits.test.images, digits.test.labels),
    )
    made, found = load_or_train(*call), load_or_train(*call)
    logits = made.features(digits.test.images).logits
    right = (logits.argmax(1) == digits.test.labels).double().mean().item()
    assert made.accuracy == found.accuracy == pytest.approx(right, abs=1e-7)
    assert made.digest == found.digest
    key = score(made.features(digits.test.images), reference(digits.train.images, made, "digits", "train")).key
    assert f"({made.accuracy:.1%} right on held-out images)" in str(key)
    assert train_classifier(digits.train.images, digits.train.labels, 0, steps=2).accuracy is None
