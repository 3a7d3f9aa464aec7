"""Every code that a finding may have, so that a policy which names another is refused and not silently idle."""

CODES = frozenset({
    "archive_form", "archive_name", "bad_checksum", "bad_container", "bad_golden", "bad_handler", "bad_manifest",
    "bad_model_config", "bad_pickle", "bad_predictor", "bad_requirements", "bad_runtime_yaml", "bad_saved_model",
    "bad_score", "bad_variables_index", "bad_zip", "container_not_served", "duplicate_entry", "empty_file",
    "encrypted_entry", "error_page", "file_and_folder", "forbidden_global", "forbidden_op", "header_mismatch",
    "hidden_bytes", "illegal_entry_name", "illegal_name", "illegal_path", "lfs_pointer", "loose_model",
    "missing_file", "missing_tensor", "no_environment", "no_handler", "no_initialize", "no_manifest",
    "no_serve_tag", "no_serving_default", "not_in_manifest", "other_python", "pickle_beside", "shard_too_long",
    "special_entry", "stored_descriptor", "stray_shard", "too_large", "too_many_entries", "too_many_files",
    "two_artifacts", "unknown_compression", "unknown_op", "unpinned_image", "untraced_file", "wrong_crc",
    "wrong_depth",
})  # fmt: skip
