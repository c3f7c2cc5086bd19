"""ExampleGen: from the behaviour log to one `tf.Example` per outcome, joined point in time."""
