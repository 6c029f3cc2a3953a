//! As much of BTF as layouts need (linux/btf.h), read from the object's `.BTF` section.

use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;

const MAGIC: u16 = 0xeb9f;
const KIND_INT: u32 = 1;
const KIND_PTR: u32 = 2;
const KIND_ARRAY: u32 = 3;
const KIND_STRUCT: u32 = 4;
const KIND_UNION: u32 = 5;
const KIND_ENUM: u32 = 6;
const KIND_FUNC_PROTO: u32 = 13;
const KIND_VAR: u32 = 14;
const KIND_DATASEC: u32 = 15;
const KIND_DECL_TAG: u32 = 17;
const KIND_ENUM64: u32 = 19;

/// A member of a struct.
#[derive(Clone, Debug)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// Where it starts, bytes.
    pub offset: usize,
    /// Its type's id.
    pub type_id: u32,
}

/// A type, as far as layouts go.
#[derive(Clone, Debug)]
pub struct Type {
    /// `BTF_KIND_*`.
    pub kind: u32,
    /// Its name, empty if it has none.
    pub name: String,
    /// Bytes, or the id of the type referred to.
    pub size_or_type: u32,
    /// Members of a struct; the variables of a section.
    pub members: Vec<Member>,
    /// Element type and count of an array.
    pub array: Option<(u32, u32)>,
}

/// All types of an object.
#[derive(Clone, Debug)]
pub struct Btf {
    types: Vec<Type>,
}

impl Btf {
    /// Reads the section `.BTF` of an ELF object (64 bits, little endian).
    ///
    /// # Errors
    /// If it is not there or not whole.
    pub fn of_object(object: &[u8]) -> Result<Btf> {
        let section = section(object, ".BTF")?;
        ensure!(u16_at(section, 0)? == MAGIC, "not BTF");
        let header = u32_at(section, 4)? as usize;
        let field = |at| u32_at(section, at).map(|value| value as usize);
        let types =
            section.get(header + field(8)?..).and_then(|s| s.get(..field(12).ok()?)).context("types")?;
        let strings = section.get(header + field(16)?..).context("strings")?;
        // Type 0 is void.
        let void = Type { kind: 0, name: "void".into(), size_or_type: 0, members: Vec::new(), array: None };
        let mut btf = Btf { types: vec![void] };
        let mut at = 0;
        while at < types.len() {
            at = btf.read(types, at, strings)?;
        }
        Ok(btf)
    }

    fn read(&mut self, types: &[u8], at: usize, strings: &[u8]) -> Result<usize> {
        let word = |i: usize| u32_at(types, at + i * 4);
        let string = |offset: u32| -> Result<String> {
            let rest = strings.get(offset as usize..).context("string offset")?;
            let end = rest.iter().position(|byte| *byte == 0).context("string without end")?;
            Ok(String::from_utf8_lossy(&rest[..end]).into_owned())
        };
        let info = word(1)?;
        let (kind, count) = (info >> 24 & 0x1f, (info & 0xffff) as usize);
        let mut found =
            Type { kind, name: string(word(0)?)?, size_or_type: word(2)?, members: Vec::new(), array: None };
        let mut extra_words = 0;
        match kind {
            KIND_STRUCT | KIND_UNION => {
                for i in 0..count {
                    let (name, type_id, bits) = (word(3 + i * 3)?, word(4 + i * 3)?, word(5 + i * 3)?);
                    // With the kind flag set the upper eight bits are a bit field's width.
                    let bits = if info >> 31 == 1 { bits & 0xff_ffff } else { bits };
                    found.members.push(Member { name: string(name)?, offset: bits as usize / 8, type_id });
                }
                extra_words = count * 3;
            }
            KIND_DATASEC => {
                for i in 0..count {
                    let type_id = word(3 + i * 3)?;
                    found.members.push(Member { name: String::new(), offset: 0, type_id });
                }
                extra_words = count * 3;
            }
            KIND_ARRAY => {
                found.array = Some((word(3)?, word(5)?));
                extra_words = 3;
            }
            KIND_INT | KIND_VAR | KIND_DECL_TAG => extra_words = 1,
            KIND_ENUM | KIND_FUNC_PROTO => extra_words = count * 2,
            KIND_ENUM64 => extra_words = count * 3,
            _ => {}
        }
        self.types.push(found);
        Ok(at + 12 + extra_words * 4)
    }

    /// The type with this id.
    ///
    /// # Errors
    /// If there is none.
    pub fn get(&self, id: u32) -> Result<&Type> {
        self.types.get(id as usize).with_context(|| format!("type {id}"))
    }

    /// The struct of this name.
    ///
    /// # Errors
    /// If there is none, or several.
    pub fn structure(&self, name: &str) -> Result<&Type> {
        let mut all = self.types.iter().filter(|t| t.kind == KIND_STRUCT && t.name == name);
        let first = all.next().with_context(|| format!("no struct {name} in the object's BTF"))?;
        ensure!(all.next().is_none(), "several structs {name} in the object's BTF");
        Ok(first)
    }

    /// Bytes of a type.
    ///
    /// # Errors
    /// If it has no size.
    pub fn size(&self, id: u32) -> Result<usize> {
        let found = self.get(id)?;
        match (found.kind, found.array) {
            (_, Some((element, count))) => Ok(self.size(element)? * count as usize),
            (KIND_INT | KIND_STRUCT | KIND_UNION | KIND_ENUM | KIND_ENUM64, _) => {
                Ok(found.size_or_type as usize)
            }
            (KIND_PTR, _) => Ok(8),
            (0, _) => anyhow::bail!("void has no size"),
            _ => self.size(found.size_or_type),
        }
    }

    /// Map name → name of its value's type, arrays of it included: `MEMO` → `MemoLine`.
    ///
    /// # Errors
    /// If a map has no value.
    pub fn map_values(&self) -> Result<BTreeMap<String, String>> {
        let maps =
            self.types.iter().find(|t| t.kind == KIND_DATASEC && t.name == ".maps").context(".maps")?;
        maps.members
            .iter()
            .map(|member| {
                let variable = self.get(member.type_id)?;
                let value = self
                    .definition(variable.size_or_type)?
                    .with_context(|| format!("map {} has no value", variable.name))?;
                let mut kind = self.get(self.get(value)?.size_or_type)?;
                while let Some((element, _)) = kind.array {
                    kind = self.get(element)?;
                }
                Ok((variable.name.clone(), kind.name.clone()))
            })
            .collect()
    }

    /// The type of the member `value` of a map's definition, through the structs that wrap it.
    fn definition(&self, id: u32) -> Result<Option<u32>> {
        let found = self.get(id)?;
        if let Some(value) = found.members.iter().find(|member| member.name == "value") {
            return Ok(Some(value.type_id));
        }
        for member in &found.members {
            if let Some(value) = self.definition(member.type_id)? {
                return Ok(Some(value));
            }
        }
        Ok(None)
    }
}

/// A section of an ELF object (64 bits, little endian).
fn section<'a>(object: &'a [u8], name: &str) -> Result<&'a [u8]> {
    ensure!(object.starts_with(b"\x7fELF\x02\x01"), "not an ELF object of 64 bits, little endian");
    let table = u64_at(object, 0x28)? as usize;
    let size = usize::from(u16_at(object, 0x3a)?);
    let count = usize::from(u16_at(object, 0x3c)?);
    let names = usize::from(u16_at(object, 0x3e)?);
    let bytes = |index: usize| -> Result<&'a [u8]> {
        let header = table + index * size;
        let (start, length) =
            (u64_at(object, header + 0x18)? as usize, u64_at(object, header + 0x20)? as usize);
        object.get(start..start + length).context("a section outside of the object")
    };
    let strings = bytes(names)?;
    for index in 0..count {
        let offset = u32_at(object, table + index * size)? as usize;
        let wanted = [name.as_bytes(), b"\0"].concat();
        if strings.get(offset..).is_some_and(|rest| rest.starts_with(&wanted)) {
            return bytes(index);
        }
    }
    anyhow::bail!("the object has no section {name}")
}

fn array_at<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N]> {
    let piece = bytes.get(at..at + N).context("cut short")?;
    Ok(piece.try_into()?)
}

fn u16_at(bytes: &[u8], at: usize) -> Result<u16> {
    array_at(bytes, at).map(u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> Result<u32> {
    array_at(bytes, at).map(u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> Result<u64> {
    array_at(bytes, at).map(u64::from_le_bytes)
}
