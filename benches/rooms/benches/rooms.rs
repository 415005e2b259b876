//! How long the rooms' hot operations take: `cargo bench -p palisade-bench-rooms`.

use criterion::Criterion;
use palisade_bench_rooms::ALL;

fn main() -> anyhow::Result<()> {
    let mut criterion = Criterion::default().configure_from_args();
    for operation in ALL {
        let mut once = (operation.prepare)()?;
        let mut fault = None;
        criterion.bench_function(operation.name, |bencher| {
            bencher.iter(|| {
                if let Err(e) = once() {
                    fault = Some(e);
                }
            });
        });
        if let Some(fault) = fault {
            return Err(fault.context(operation.name));
        }
    }
    criterion.final_summary();
    Ok(())
}
