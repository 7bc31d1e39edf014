import torch

from debias_pipeline.randomness import generator, generators


def draw(of):
    return torch.rand(4, generator=of)


def test_streams_differ_by_seed_and_by_purpose_and_repeat():
    assert torch.equal(draw(generator(1, "shuffle")), draw(generator(1, "shuffle")))
    assert not torch.equal(draw(generator(1, "shuffle")), draw(generator(2, "shuffle")))
    assert not torch.equal(draw(generator(1, "shuffle")), draw(generator(1, "swap")))


def test_one_generator_per_seed():
    one, two = generators([1, 2], "shuffle")
    assert torch.equal(draw(one), draw(generator(1, "shuffle")))
    assert torch.equal(draw(two), draw(generator(2, "shuffle")))
