"""Operations as XLA's CPU compiler runs them best."""
