//! gRPC's health service. It knows one service, the whole server, which has no name.

use prost::Message;

use super::front::Front;
use super::streams::{Gone, Outlet};
use crate::protocol::Method;
use crate::protocol::convert::undecodable;
use crate::protocol::pb::grpc::health::v1::health_check_response::ServingStatus;
use crate::protocol::pb::grpc::health::v1::{
    HealthCheckRequest, HealthCheckResponse, HealthListRequest, HealthListResponse,
};
use crate::protocol::status::{self, Status, code};
use crate::types::Refusal;

/// Check: the state now.
pub(super) fn check(message: &[u8]) -> Result<HealthCheckResponse, Status> {
    match decode::<HealthCheckRequest>(Method::HealthCheck, message)?.service.is_empty() {
        true => Ok(state(ServingStatus::Serving)),
        false => Err(Status::new(code::NOT_FOUND, "unknown service")),
    }
}

/// List: the states of all services there are.
pub(super) fn list(message: &[u8]) -> Result<HealthListResponse, Status> {
    decode::<HealthListRequest>(Method::HealthList, message)?;
    let statuses = [(String::new(), state(ServingStatus::Serving))].into();
    Ok(HealthListResponse { statuses })
}

/// Returns the first message of Watch.
pub(super) fn now(message: &[u8]) -> Result<HealthCheckResponse, Status> {
    match decode::<HealthCheckRequest>(Method::HealthWatch, message)?.service.is_empty() {
        true => Ok(state(ServingStatus::Serving)),
        false => Ok(state(ServingStatus::ServiceUnknown)),
    }
}

/// Watch: `first`, and nothing more until the server stops.
pub(super) async fn watch(
    front: &Front,
    first: HealthCheckResponse,
    outlet: &mut impl Outlet,
) -> Result<Status, Gone> {
    outlet.encoded(first.encode_to_vec().into()).await?;
    let stopping = async {
        front.closing().wait().await;
        Ok(())
    };
    let gone = async {
        outlet.gone().await;
        Err(Gone)
    };
    futures_lite::future::or(stopping, gone).await?;
    outlet.encoded(state(ServingStatus::NotServing).encode_to_vec().into()).await?;
    Ok(status::of(&Refusal::Stopped))
}

fn state(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}

fn decode<M: Message + Default>(method: Method, message: &[u8]) -> Result<M, Status> {
    M::decode(message).map_err(|_| status::of(&undecodable(method)))
}
