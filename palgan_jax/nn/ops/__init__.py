"""Operations of the networks: the same result on each platform, computed as suits it."""
