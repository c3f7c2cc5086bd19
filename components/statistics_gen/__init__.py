"""StatisticsGen: describes every split of examples with TensorFlow Data Validation."""
