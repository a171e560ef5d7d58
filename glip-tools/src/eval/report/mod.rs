//! What is made of the numbers: tables, plots, and a page with the worst mistakes.

mod crops;
mod page;
mod plot;
mod table;

pub use page::{MistakePage, PageOptions};
pub use plot::plot_precision_recall;
pub use table::{detection_table, phrase_table, sets_table};
