//! The checks and the moving of a txn; and one that only puts, without prost in between.

use bytes::Bytes;

use super::decode::{delete_range, put, range};
use super::quick;
use crate::protocol::pb::etcdserverpb as pb;
use crate::protocol::{Field, Fields};
use crate::types::{Compare, CompareOperand, CompareOperator, KeyRange, Op, Refusal, TxnRequest};

/// Depth-first, compares before branches, as etcd goes. How many operations there are has been
/// judged from the bytes, by `bounds`.
pub(super) fn txn(request: pb::TxnRequest) -> Result<TxnRequest, Refusal> {
    Ok(TxnRequest {
        compare: request.compare.into_iter().map(compare).collect::<Result<_, _>>()?,
        success: request.success.into_iter().map(op).collect::<Result<_, _>>()?,
        failure: request.failure.into_iter().map(op).collect::<Result<_, _>>()?,
    })
}

const TXN_SUCCESS: u64 = 2;
const OP_PUT: u64 = 2;

/// Room that is made for the operations of a txn before they are counted.
const OPS_EXPECTED: usize = 4;

/// Returns a txn that is nothing but at most `max_ops` puts on success, in the fields that puts
/// have and no others; `None` if it is not, or if its bytes are not sound: whoever judges it then
/// finds the same to be wrong with it, if anything is.
pub(super) fn only_puts(payload: &Bytes, max_ops: usize) -> Option<Result<TxnRequest, Refusal>> {
    let mut success = Vec::with_capacity(OPS_EXPECTED);
    let mut refused = None;
    let mut fields = Fields(payload);
    let mut puts = 0;
    for field in &mut fields {
        let Field { number: TXN_SUCCESS, bytes: Some(op), .. } = field else { return None };
        let mut op = Fields(op);
        let Field { number: OP_PUT, bytes: Some(message), .. } = op.next()? else { return None };
        puts += 1;
        if puts > max_ops || !op.is_empty() {
            return None;
        }
        // A later one may show that the bytes are not sound, which is worse.
        match put(quick::put(payload, message)?) {
            Ok(put) if refused.is_none() => success.push(Op::Put(put)),
            Ok(_) => {}
            Err(refusal) => drop(refused.get_or_insert(refusal)),
        }
    }
    if !fields.is_empty() {
        return None;
    }
    Some(match refused {
        None => Ok(TxnRequest { success, ..TxnRequest::default() }),
        Some(refusal) => Err(refusal),
    })
}

fn op(op: pb::RequestOp) -> Result<Op, Refusal> {
    use pb::request_op::Request as Api;
    match op.request {
        Some(Api::RequestRange(request)) => range(request).map(Op::Range),
        Some(Api::RequestPut(request)) => put(request).map(Op::Put),
        Some(Api::RequestDeleteRange(request)) => delete_range(request).map(Op::DeleteRange),
        Some(Api::RequestTxn(request)) => txn(request).map(Op::Txn),
        None => Err(Refusal::KeyNotFound),
    }
}

fn compare(compare: pb::Compare) -> Result<Compare, Refusal> {
    use pb::compare::{CompareResult, CompareTarget};
    if compare.key.is_empty() {
        return Err(Refusal::EmptyKey);
    }
    let target = CompareTarget::try_from(compare.target).ok();
    let operator = match CompareResult::try_from(compare.result) {
        Ok(CompareResult::Equal) => Some(CompareOperator::Equal),
        Ok(CompareResult::Greater) => Some(CompareOperator::Greater),
        Ok(CompareResult::Less) => Some(CompareOperator::Less),
        Ok(CompareResult::NotEqual) => Some(CompareOperator::NotEqual),
        Err(_) => None,
    };
    let range = KeyRange::from_api(compare.key, compare.range_end);
    let (operator, operand) = match (target, operator) {
        (Some(target), Some(operator)) => (operator, operand(target, compare.target_union)),
        (target, operator) => unknown_enum(target, operator),
    };
    Ok(Compare { range, operator, operand })
}

/// An operand of another target than the one named counts as not given.
fn operand(
    target: pb::compare::CompareTarget,
    union: Option<pb::compare::TargetUnion>,
) -> CompareOperand {
    use pb::compare::{CompareTarget as Target, TargetUnion as Union};
    match (target, union) {
        (Target::Version, Some(Union::Version(version))) => CompareOperand::Version(version),
        (Target::Version, _) => CompareOperand::Version(0),
        (Target::Create, Some(Union::CreateRevision(create))) => CompareOperand::Create(create),
        (Target::Create, _) => CompareOperand::Create(0),
        (Target::Mod, Some(Union::ModRevision(modified))) => CompareOperand::Mod(modified),
        (Target::Mod, _) => CompareOperand::Mod(0),
        (Target::Value, Some(Union::Value(value))) => CompareOperand::Value(value),
        (Target::Value, _) => CompareOperand::Value(Bytes::new()),
        (Target::Lease, Some(Union::Lease(lease))) => CompareOperand::Lease(lease),
        (Target::Lease, _) => CompareOperand::Lease(0),
    }
}

/// etcd does not refuse enum values that it does not know: an unknown target compares as equal, an
/// unknown operator holds, except that a value compare never holds for a missing key. Said in
/// compares that we do have; no version is negative, and only a missing key has version 0.
fn unknown_enum(
    target: Option<pb::compare::CompareTarget>,
    operator: Option<CompareOperator>,
) -> (CompareOperator, CompareOperand) {
    use pb::compare::CompareTarget as Target;
    let holds = (CompareOperator::NotEqual, CompareOperand::Version(-1));
    let fails = (CompareOperator::Equal, CompareOperand::Version(-1));
    match (target, operator) {
        (Some(Target::Value), None) => (CompareOperator::Greater, CompareOperand::Version(0)),
        (_, None) => holds,
        (_, Some(CompareOperator::Equal)) => holds,
        (_, Some(_)) => fails,
    }
}
