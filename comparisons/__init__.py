"""Speed and results beside other libraries; run from the project's root."""

from palgan_jax.util.platforms import leave_out_absent_tpus

leave_out_absent_tpus()
