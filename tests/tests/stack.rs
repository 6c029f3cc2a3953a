//! The stacks of all functions that are under way together fit into 512 bytes as the oldest supported kernel counts
//! them: newer ones give programs more, and would not tell (kernel/bpf/verifier.c, `check_max_stack_depth`).

use anyhow::{Context, Result, ensure};
use aya_obj::Object;
use aya_obj::generated::bpf_insn;
use gateway_common::abi::programs;
use gateway_tests::report::report;
use gateway_user::dataplane::OBJECT;
use std::collections::{BTreeMap, BTreeSet, HashSet};

/// `MAX_BPF_STACK` of linux/filter.h.
const STACK: i64 = 512;
/// What each stack is rounded up to; one of nothing too.
const GRANULE: i64 = 32;

const BPF_CALL: u8 = 0x85;
const PSEUDO_CALL: u8 = 1;
const FRAME: u8 = 10;
const BPF_LDX: u8 = 1;
const BPF_ST: u8 = 2;
const BPF_STX: u8 = 3;
/// Register to register, and the addition of a constant, in 64 bits.
const MOV64: u8 = 0xbf;
const ADD64: u8 = 0x07;

/// A function: how deep it reaches into its stack, and the instructions at which what it calls begins.
#[derive(Debug, Default)]
struct Function {
    depth: i64,
    calls: BTreeSet<usize>,
}

/// The functions of a program, by their first instruction.
fn functions(code: &[bpf_insn]) -> BTreeMap<usize, Function> {
    let target = |at: usize, instruction: &bpf_insn| {
        let is_call = instruction.code == BPF_CALL && instruction.src_reg() == PSEUDO_CALL;
        is_call.then(|| (at as i64 + 1 + i64::from(instruction.imm)) as usize)
    };
    let mut functions: BTreeMap<usize, Function> = BTreeMap::from([(0, Function::default())]);
    for (at, instruction) in code.iter().enumerate() {
        functions.extend(target(at, instruction).map(|first| (first, Function::default())));
    }
    let starts: Vec<usize> = functions.keys().copied().chain([code.len()]).collect();
    for bounds in starts.windows(2) {
        let function = functions.entry(bounds[0]).or_default();
        // Registers that hold the frame's address.
        let mut frames = HashSet::new();
        for (at, instruction) in (bounds[0]..).zip(&code[bounds[0]..bounds[1]]) {
            let (to, from) = (instruction.dst_reg(), instruction.src_reg());
            let class = instruction.code & 7;
            let is_store = class == BPF_ST || class == BPF_STX;
            if is_store && to == FRAME || class == BPF_LDX && from == FRAME {
                function.depth = function.depth.max(-i64::from(instruction.off));
            }
            if instruction.code == ADD64 && frames.contains(&to) {
                function.depth = function.depth.max(-i64::from(instruction.imm));
            }
            if !is_store {
                frames.remove(&to);
            }
            if instruction.code == MOV64 && from == FRAME {
                frames.insert(to);
            }
            function.calls.extend(target(at, instruction));
        }
    }
    functions
}

/// The deepest chain of calls from a function on, bytes.
fn deepest(functions: &BTreeMap<usize, Function>, first: usize) -> i64 {
    let Some(function) = functions.get(&first) else { return 0 };
    let own = (function.depth.max(1) + GRANULE - 1) / GRANULE * GRANULE;
    // The verifier allows no recursion, and loading the object anywhere shows that there is none.
    own + function.calls.iter().map(|called| deepest(functions, *called)).max().unwrap_or(0)
}

#[test]
fn the_stacks_of_all_that_is_under_way_fit() -> Result<()> {
    let mut object = Object::parse(OBJECT)?;
    let sections: HashSet<usize> = object.functions.keys().map(|(section, _)| *section).collect();
    object.relocate_calls(&sections)?;
    for name in [programs::XDP, programs::XDP_WHOLE, programs::TC_INGRESS, programs::TC_EGRESS] {
        let key = object.programs.get(name).context(name)?.function_key();
        let functions = functions(&object.functions.get(&key).context(name)?.instructions);
        ensure!(functions.len() > 2, "{name} calls hardly anything: {functions:?}");
        let depth = deepest(&functions, 0);
        report("stack", name, depth);
        ensure!(depth <= STACK, "the stacks of {name} come to {depth} bytes, and {STACK} are all there are");
        ensure!(depth >= 200, "{name} needs {depth} bytes: that cannot be right");
    }
    Ok(())
}
