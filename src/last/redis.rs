//! One connection to Redis as a pure state machine: commands out, replies in.
