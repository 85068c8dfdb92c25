// A model directory (docs/FORMAT.md), read and checked without Python: what other ways into the core stand on.
//
// Python reads its own (src/sparsedistill/artefact.py), since its classifiers are also made of dicts and arrays that come from
// no file, and its errors show the values in them. Both must refuse the same: tests/test_core_cpp.py puts the same damaged
// directories before either.
#pragma once

#include <cstddef>
#include <deque>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "heads.h"
#include "large.h"
#include "platform.h"
#include "score.h"

namespace sparsedistill {

// A model with all that its views look into, but for memory that read_model() was given.
struct LoadedModel {
    MappedFile file;
    std::deque<Large<std::byte>> copies;  // of arrays that do not begin where their numbers must
    std::vector<Head> heads;  // whose outputs are those of the model, one after the other
    Model model;
};

// Maps a model directory. Errors: FormatError naming the file and the field or tensor; std::system_error where there is no
// such file or it cannot be read. Tables are checked where they are used: score() throws Damaged.
LoadedModel load_model(const std::filesystem::path& directory);

// The same from memory, which must live as long: what config.json and model.safetensors hold. `name`: of the model, for errors.
LoadedModel read_model(std::string_view config, std::span<const std::byte> tensors, const std::string& name);

}  // namespace sparsedistill
