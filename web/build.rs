//! The pages are put into the program by a macro, of which cargo cannot know what it reads.

fn main() {
    println!("cargo::rerun-if-changed=ui/dist");
}
