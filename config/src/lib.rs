//! Reading and checking of `warden.toml` and `policy.toml`.
