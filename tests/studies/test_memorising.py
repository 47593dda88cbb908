"""The study of networks that were trained for longer measures what chapter 1 shows of them."""

from studies import memorising
from toolkit.networks import pretrained


def test_a_network_is_measured_with_both_samplers():
    found = memorising.measure(pretrained("digits"), batches=2, n=20)
    assert set(found) == {"DDPM", "DDIM"}
    for row in found.values():
        distance, spread = row["Fréchet distance"]
        assert distance > spread >= 0 and 0 <= row["near-copies"] <= 40
