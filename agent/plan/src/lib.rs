//! Desired state and facts become a plan: pure judgement
