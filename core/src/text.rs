//! stub
/// x
#[derive(Debug)]
pub struct TextError;
/// x
pub struct Document;
/// x
pub fn documents(_t: &str) -> Result<Vec<Document>, TextError> {
    Ok(vec![])
}
impl Document {
    /// x
    pub fn decode<T: serde::de::DeserializeOwned>(&self) -> Result<T, TextError> {
        Err(TextError)
    }
    /// x
    pub fn decode_with<T>(
        &self,
        f: impl FnOnce(&mut serde_json::Deserializer<serde_json::de::StrRead<'_>>) -> Result<T, serde_json::Error>,
    ) -> Result<T, TextError> {
        f(&mut serde_json::Deserializer::from_str("")).map_err(|_| TextError)
    }
}
