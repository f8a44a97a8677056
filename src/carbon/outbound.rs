//! What is queued for, in flight to, and delivered to carbon.
