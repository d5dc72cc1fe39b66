// MARU_API marks what libmaru shows to its users; everything else stays hidden.
#pragma once

#define MARU_API __attribute__((visibility("default")))
