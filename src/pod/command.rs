//! What a container executes, and where.

use k8s_openapi::api::core::v1::Container;

use super::environment::expand;
use super::fault::StartFault;
use super::image::ImageConfig;

/// The argument vector. `env` is the container's own environment: the image's part is not for references.
pub fn argv(
    container: &Container,
    image: &ImageConfig,
    env: &[(String, String)],
) -> Result<Vec<String>, StartFault> {
    let own = |list: &Option<Vec<String>>| -> Vec<String> {
        list.iter().flatten().map(|word| expand(word, env)).collect()
    };
    let (command, args) = (own(&container.command), own(&container.args));
    let mut words = if !command.is_empty() {
        command
    } else if image.entrypoint == [""] {
        Vec::new()
    } else {
        image.entrypoint.clone()
    };
    let overridden = container.command.as_ref().is_some_and(|command| !command.is_empty());
    if !args.is_empty() {
        words.extend(args);
    } else if !overridden {
        words.extend(image.cmd.iter().cloned());
    }
    if words.is_empty() {
        return Err(StartFault::create(
            "no command specified: neither the container's command nor the image's ENTRYPOINT or \
             CMD names one",
        ));
    }
    Ok(words)
}

/// The directory that the process starts in.
pub fn working_dir<'a>(container: &'a Container, image: &'a ImageConfig) -> &'a str {
    let own = container.working_dir.as_deref().unwrap_or_default();
    [own, &image.working_dir].into_iter().find(|path| !path.is_empty()).unwrap_or("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(list: &[&str]) -> Vec<String> {
        list.iter().map(|word| (*word).to_owned()).collect()
    }

    /// `command | args | entrypoint | cmd`
    fn run(command: &[&str], args: &[&str], entry: &[&str], cmd: &[&str]) -> Option<Vec<String>> {
        let some = |list: &[&str]| (!list.is_empty()).then(|| words(list));
        let container =
            Container { command: some(command), args: some(args), ..Container::default() };
        let image =
            ImageConfig { entrypoint: words(entry), cmd: words(cmd), ..ImageConfig::default() };
        argv(&container, &image, &[("X".into(), "1".into())]).ok()
    }

    #[test]
    fn command_and_args_replace_the_images_words() {
        for (command, args, entry, cmd, expected) in [
            (&[][..], &[][..], &["e"][..], &["c"][..], Some(&["e", "c"][..])),
            (&[], &["a"], &["e"], &["c"], Some(&["e", "a"])),
            (&["k"], &[], &["e"], &["c"], Some(&["k"])),
            (&["k"], &["a"], &["e"], &["c"], Some(&["k", "a"])),
            (&[], &[], &[], &["c", "d"], Some(&["c", "d"])),
            (&[], &[], &[""], &["c"], Some(&["c"])),
            (&[], &["a"], &[], &[], Some(&["a"])),
            (&[], &[], &[], &[], None),
            (&["k$(X)"], &["$(X)", "$$(X)", "$(Y)"], &[], &[], Some(&["k1", "1", "$(X)", "$(Y)"])),
            // The image's own words are no templates.
            (&[], &[], &["$(X)"], &[], Some(&["$(X)"])),
        ] {
            assert_eq!(
                run(command, args, entry, cmd),
                expected.map(words),
                "{command:?} {args:?} {entry:?} {cmd:?}"
            );
        }
    }

    #[test]
    fn nothing_to_run_is_a_fault_that_says_so() {
        let fault = argv(&Container::default(), &ImageConfig::default(), &[]).unwrap_err();
        assert_eq!(fault.reason, "CreateContainerError");
        assert!(fault.message.starts_with("no command specified"), "{fault}");
    }

    #[test]
    fn the_working_directory_falls_back_to_the_image_and_to_the_root() {
        for (own, image, expected) in
            [(Some("/w"), "/i", "/w"), (None, "/i", "/i"), (Some(""), "/i", "/i"), (None, "", "/")]
        {
            let container = Container { working_dir: own.map(Into::into), ..Container::default() };
            let image = ImageConfig { working_dir: image.into(), ..ImageConfig::default() };
            assert_eq!(working_dir(&container, &image), expected);
        }
    }
}
