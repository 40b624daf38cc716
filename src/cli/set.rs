//! `podward set image`: another image for containers of sets.

use std::io::Write;

use clap::{Args as ClapArgs, Subcommand};
use serde_json::Value;

use crate::base::ids::SetKey;
use crate::spec::names;

use super::{
    Globals, apply, client,
    desk::{Desk, Place, ending},
    failure::{Failure, Outcome},
    namespace::OneNamespace,
    resource::{self, Kind},
};

/// What `set` is asked for.
#[derive(Debug, ClapArgs)]
pub struct Args {
    #[command(subcommand)]
    pub what: What,
}

/// What may be set.
#[derive(Debug, Subcommand)]
pub enum What {
    /// The images of a set's containers
    Image(ImageArgs),
}

/// What `set image` is asked for.
#[derive(Debug, ClapArgs)]
pub struct ImageArgs {
    /// ds/NAME... CONTAINER=IMAGE...; `*` stands for every container
    #[arg(required = true, value_name = "ds/NAME CONTAINER=IMAGE")]
    pub words: Vec<String>,
    #[command(flatten)]
    pub namespace: OneNamespace,
}

/// Containers with their images.
type Images = Vec<(String, String)>;

/// Sets the images.
pub fn run(args: &Args, globals: &Globals, out: &mut dyn Write, err: &mut dyn Write) -> Outcome {
    let What::Image(args) = &args.what;
    let (sets, images) = parse(&args.words)?;
    client::converse(async {
        let desk = Desk::open(globals).await?;
        let mut failed = None;
        for name in &sets {
            let set = SetKey::new(&args.namespace.namespace, name);
            match change(&desk, &Place::Set(set), &images).await {
                Ok(true) => writeln!(out, "daemonset.apps/{name} image updated")?,
                Ok(false) => {}
                Err(error) => {
                    if let Some(before) = failed.replace(error) {
                        writeln!(err, "error: {before:#}")?;
                    }
                }
            }
        }
        ending(failed)
    })
}

/// Sets, and what their containers shall run.
fn parse(words: &[String]) -> anyhow::Result<(Vec<String>, Images)> {
    let (images, targets): (Vec<&String>, Vec<&String>) =
        words.iter().partition(|word| word.contains('='));
    let targets: Vec<String> = targets.into_iter().cloned().collect();
    let refuse = |message: String, hint: &str| Err(Failure::usage(message, Some(hint.to_owned())));
    let mut sets = Vec::new();
    for target in resource::targets(&targets)? {
        if target.kind != Kind::DaemonSet || target.names.is_empty() {
            return refuse("images are those of a set".into(), "write ds/NAME");
        }
        sets.extend(target.names);
    }
    let mut named = Images::new();
    for word in images {
        let (container, image) = word.split_once('=').unwrap_or((word, ""));
        if let Err(remedy) = names::image(image) {
            return refuse(format!("{word:?}: {image:?} is no image"), remedy);
        }
        named.push((container.to_owned(), image.to_owned()));
    }
    if named.is_empty() {
        return refuse(
            "no image is given".into(),
            "write CONTAINER=IMAGE, such as main=docker.io/library/nginx:1.27",
        );
    }
    Ok((sets, named))
}

/// Changes one set; false when it has these images already.
async fn change(desk: &Desk, place: &Place, images: &Images) -> anyhow::Result<bool> {
    let words: Vec<String> = images.iter().map(|(name, image)| format!("{name}={image}")).collect();
    let cause = format!("podward set image {} {}", place.shown(), words.join(" "));
    for attempt in 0.. {
        let standing = desk.standing(place).await?;
        let Some(mut set) = standing.live.clone() else {
            anyhow::bail!("{} not found in namespace {:?}", place.quoted(), place.namespace());
        };
        set_images(&mut set, images)
            .map_err(|name| anyhow::anyhow!("unable to find container named {name:?}"))?;
        let plan = apply::write_over(desk, &standing, set, apply::Why::because(&cause))?;
        match &plan.txn {
            None => return Ok(false),
            Some(txn) if desk.commit(txn).await? => return Ok(true),
            Some(_) => desk.after_conflict(attempt, &place.shown()).await?,
        }
    }
    unreachable!("the last conflict is an error")
}

/// Sets the images of a set's containers and init containers; the name that none of them has is the error.
fn set_images(set: &mut Value, images: &Images) -> Result<(), String> {
    for (name, image) in images {
        let mut found = false;
        for list in ["containers", "initContainers"] {
            let list = set.pointer_mut(&format!("/spec/template/spec/{list}"));
            for container in list.and_then(Value::as_array_mut).into_iter().flatten() {
                if name == "*" || container["name"] == name.as_str() {
                    container["image"] = image.clone().into();
                    found = true;
                }
            }
        }
        if !found {
            return Err(name.clone());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn words(words: &str) -> Result<(Vec<String>, Images), String> {
        let words: Vec<String> = words.split_whitespace().map(str::to_owned).collect();
        parse(&words).map_err(|error| error.to_string())
    }

    #[test]
    fn sets_and_images_are_told_apart() {
        let image = |name: &str, image: &str| (name.to_owned(), image.to_owned());
        assert_eq!(
            words("ds/web main=r.io/a:1 side=b"),
            Ok((vec!["web".into()], vec![image("main", "r.io/a:1"), image("side", "b")]))
        );
        assert_eq!(words("ds web *=a:2"), Ok((vec!["web".into()], vec![image("*", "a:2")])));
        for (wrong, problem) in [
            ("ds/web", "no image is given"),
            ("ds main=a", "images are those of a set"),
            ("pod/web main=a", "images are those of a set"),
            ("ds/web main=", "\"main=\": \"\" is no image"),
            ("ds/web main=A:b:c", "\"main=A:b:c\": \"A:b:c\" is no image"),
        ] {
            assert_eq!(words(wrong), Err(problem.to_owned()), "{wrong}");
        }
    }

    #[test]
    fn images_go_to_the_containers_that_are_named() {
        let set = json!({"spec": {"template": {"spec": {
            "containers": [{"name": "a", "image": "x"}, {"name": "b", "image": "x"}],
            "initContainers": [{"name": "i", "image": "x"}]}}}});
        let with = |images: &[(&str, &str)]| {
            let mut set = set.clone();
            let images: Images =
                images.iter().map(|(name, image)| ((*name).into(), (*image).into())).collect();
            set_images(&mut set, &images).map(|()| {
                let spec = &set["spec"]["template"]["spec"];
                let image = |container: &Value| container["image"].as_str().unwrap().to_owned();
                [&spec["containers"][0], &spec["containers"][1], &spec["initContainers"][0]]
                    .map(image)
            })
        };
        assert_eq!(with(&[("a", "1")]), Ok(["1", "x", "x"].map(str::to_owned)));
        assert_eq!(with(&[("*", "1"), ("i", "2")]), Ok(["1", "1", "2"].map(str::to_owned)));
        assert_eq!(with(&[("z", "1")]), Err("z".to_owned()));
    }
}
