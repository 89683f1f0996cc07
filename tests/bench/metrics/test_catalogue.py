import json
import subprocess
import sys
from dataclasses import FrozenInstanceError

import pytest

from bench.metrics import METRICS, base_name, metric, qualified_name
from bench.metrics.keys import ScoreKey

KEY = ScoreKey(
    dataset="digits",
    split="train",
    reference_digest="a" * 64,
    n_real=1397,
    n_generated=1400,
    extractor="digits-cnn",
    extractor_digest="b" * 64,
    extractor_accuracy=0.98,
    resizer="none",
    dtype="float32",
    torch_fidelity="0.4.0",
    infinity_sizes=(140, 700, 1400),
    kid_subsets=10,
    kid_subset_size=1000,
    isc_splits=10,
    neighbours=3,
    random_seed=2020,
)


def test_the_catalogue_and_the_keys_need_no_torch():
    code = "import sys, bench.metrics, bench.metrics.keys; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_only_inception_earns_the_name_fid():
    assert qualified_name("fid", "inception-v3-compat") == "fid"
    assert qualified_name("fid", "digits-cnn") == "fd[digits-cnn]"
    assert qualified_name("kid", "digits-cnn") == "kid[digits-cnn]"
    assert qualified_name("fid-infinity", "digits-cnn") == "fd-infinity[digits-cnn]"
    assert qualified_name("fd-infinity", "inception-v3-compat") == "fid-infinity"


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("extractor", ["inception-v3-compat", "digits-cnn"])
def test_every_reported_name_leads_back_to_the_catalogue(name, extractor):
    reported = qualified_name(name, extractor)
    assert metric(reported).direction == METRICS[name].direction
    assert base_name(reported) == metric(reported).name


def test_an_unknown_metric_gets_the_nearest():
    with pytest.raises(KeyError, match="did you mean 'recall'"):
        metric("recal[digits-cnn]")


def test_a_key_survives_json_and_cannot_be_changed():
    assert ScoreKey.from_dict(json.loads(json.dumps(KEY.to_dict()))) == KEY
    with pytest.raises(FrozenInstanceError):
        KEY.n_real = 1
    with pytest.raises(ValueError, match="n_real"):
        ScoreKey.from_dict({name: value for name, value in KEY.to_dict().items() if name != "n_real"})


def test_a_key_reads_as_one_line():
    line = str(KEY)
    assert "\n" not in line
    for part in ("1,397", "1,400", "digits/train", "digits-cnn", "10×1000", "float32", "0.4.0"):
        assert part in line
