//! stub
/// x
#[derive(Default)]
pub struct Frontier;
impl Frontier {
    /// x
    pub fn from_bytes(_b: &[u8]) -> Result<Self, std::fmt::Error> {
        Ok(Frontier)
    }
    /// x
    pub fn to_bytes(&self) -> Vec<u8> {
        vec![]
    }
    /// x
    pub fn size(&self) -> u64 {
        0
    }
    /// x
    pub fn append(&mut self, _h: [u8; 32]) {}
}
/// x
pub fn leaf_hash(_b: &[u8]) -> [u8; 32] {
    [0; 32]
}
