import pytest
import torch
from torch import nn

from rappbook.chapters import assumptions as asm
from tests.test_pathway import DECODER, ENCODER


def test_unexplained_is_zero_for_equal_and_one_for_the_mean():
    b = torch.randn(50, 3)
    assert asm.unexplained(b, b) == 0
    assert asm.unexplained(b.mean(0).expand_as(b), b) == pytest.approx(1)


def test_a_projection_fulfils_both_assumptions():
    # The autoencoder on paper projects onto the diagonal: A(A(x)) = A(x), and its layers are linear.
    x = torch.randn(40, 2)
    inverses = asm.fit_inverses(ENCODER, DECODER, x)
    assert asm.idempotence(ENCODER, DECODER, x) == pytest.approx(0, abs=1e-10)
    assert asm.inversion_errors(ENCODER, DECODER, inverses, x) == pytest.approx([0, 0], abs=1e-10)
    assert asm.hidden_reconstruction_errors(ENCODER, DECODER, inverses, x) == pytest.approx([0, 0], abs=1e-10)


def test_an_encoder_that_does_not_fit_its_decoder_fails_the_first():
    shrinking = nn.Sequential(nn.Identity(), nn.Flatten())
    x = torch.randn(40, 2)
    # A(x) = x/2, so A(A(x)) = x/4 is half of A(x).
    assert asm.idempotence(shrinking, lambda h: h / 2, x) == pytest.approx(0.25, rel=0.2)
