//! Style, as a test over the files of the project.
