//! The OpenAPI document, generated from the route table.

use utoipa::PartialSchema as _;
use utoipa::ToSchema as _;
use utoipa::openapi::ComponentsBuilder;
use utoipa::openapi::ContentBuilder;
use utoipa::openapi::InfoBuilder;
use utoipa::openapi::OpenApi;
use utoipa::openapi::OpenApiBuilder;
use utoipa::openapi::Paths;
use utoipa::openapi::Ref;
use utoipa::openapi::RefOr;
use utoipa::openapi::Response;
use utoipa::openapi::ResponseBuilder;
use utoipa::openapi::Schema;
use utoipa::openapi::SecurityRequirement;
use utoipa::openapi::ServerBuilder;
use utoipa::openapi::path::Operation;
use utoipa::openapi::path::PathItem;
use utoipa::openapi::schema::AdditionalProperties;
use utoipa::openapi::security::Http;
use utoipa::openapi::security::HttpAuthScheme;
use utoipa::openapi::security::SecurityScheme;

use super::super::response::Error;
use super::super::response::JSON;
use super::super::route::Route;

/// The path of the API below the route prefix.
pub(super) const ROOT: &str = "/api/v1";
/// Fields that are not part of every object, by the name of the schema.
const OPTIONAL_FIELDS: [(&str, &str); 2] = [("Database", "locks"), ("Database", "lost_locks")];
/// The schema of requests, whose required fields follow from its type.
const REQUEST: &str = "ActionRequest";

/// The document of all documented routes.
pub(super) fn document(routes: Vec<Route>, prefix: &str) -> OpenApi {
    let mut paths = Paths::new();
    let mut components = ComponentsBuilder::new()
        .schema(Error::name(), Error::schema())
        .security_scheme("basic", SecurityScheme::Http(Http::new(HttpAuthScheme::Basic)));
    for mut documentation in routes.into_iter().flat_map(|route| route.documentation) {
        each_operation(&mut documentation.item, add_authentication_responses);
        match paths.paths.get_mut(&documentation.path) {
            Some(item) => item.merge_operations(documentation.item),
            None => drop(paths.paths.insert(documentation.path, documentation.item)),
        }
        components = components.schemas_from_iter(documentation.schemas);
    }
    let mut components = components.build();
    for (name, schema) in &mut components.schemas {
        if let RefOr::T(schema) = schema {
            close(name, schema);
        }
    }
    let info = InfoBuilder::new()
        .title("litekeeper")
        .version("1")
        .description(Some("The state of the watched SQLite databases, and actions on them"))
        .build();
    OpenApiBuilder::new()
        .info(info)
        .servers(Some([ServerBuilder::new().url(format!("{prefix}{ROOT}")).build()]))
        .security(Some([SecurityRequirement::default(), SecurityRequirement::new("basic", [""; 0])]))
        .paths(paths)
        .components(Some(components))
        .build()
}

fn each_operation(item: &mut PathItem, change: fn(&mut Operation)) {
    [&mut item.get, &mut item.post].into_iter().flatten().for_each(change);
}

/// The middleware authenticates every request and limits their rate.
fn add_authentication_responses(operation: &mut Operation) {
    for (status, description) in [("401", "Authentication required"), ("429", "Too many requests")] {
        operation.responses.responses.insert(status.to_owned(), RefOr::T(error_response(description)));
    }
}

fn error_response(description: &str) -> Response {
    let schema = RefOr::Ref(Ref::from_schema_name(Error::name()));
    ResponseBuilder::new()
        .description(description)
        .content(JSON, ContentBuilder::new().schema(Some(schema)).build())
        .build()
}

/// Objects have no other fields than the documented ones, and responses have all of them: unknown
/// values are `null`.
fn close(name: &str, schema: &mut Schema) {
    match schema {
        Schema::Object(object) if !object.properties.is_empty() => {
            object.additional_properties = Some(Box::new(AdditionalProperties::FreeForm(false)));
            if name != REQUEST {
                let is_required = |field: &&String| !OPTIONAL_FIELDS.contains(&(name, field));
                object.required = object.properties.keys().filter(is_required).cloned().collect();
            }
        }
        Schema::OneOf(choices) => {
            for choice in &mut choices.items {
                if let RefOr::T(schema) = choice {
                    close(name, schema);
                }
            }
        }
        _ => {}
    }
}
