//! The contract of [`Store`], on a local folder and on a real S3 server (moto, when it is installed).

#![allow(clippy::disallowed_methods, reason = "tests start servers and wait for them")]

mod contract;
mod s3;
