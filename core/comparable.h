// The form in which texts are compared.
#pragma once

#include <string>
#include <string_view>

#include "parallel.h"

namespace sparsedistill {

// What tells the text from others, as UTF-8, into `out`: equal for texts that differ in case, white space, invisible characters
// and punctuation that carries nothing. Letters, marks, digits, symbols and emoji count, in NFC and case-folded, and so do
//   - # % & * / @ \ _ and their like; any one mark of punctuation between two digits (1.5, 10:30); the sign before a number; the
//     full stop that a word begins with (.NET); the bracket that is a mouth (":)", ":-("; its eyes do not);
//   - U+001F, which parts the halves of a pair;
//   - all but white space, where nothing else is in the text or the half.
void comparable(std::string_view text, std::string& out, const Stop& stop = Stop());

}  // namespace sparsedistill
