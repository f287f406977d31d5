"""Operations as Pallas kernels for TPUs."""
