//! Policy, facts and time in; plans and findings out. A model takes the steps.

mod explained;
mod golden;
mod hostile;
mod model;
mod properties;
mod visudo;
mod world;
