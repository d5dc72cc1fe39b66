// maru: runs image networks on machines whose CPU and GPU share one memory, without copying.
//
//   maru::Model model = maru::Model::load("models/googlenet");
//   maru::Session session(model);
//   session.load_photo("cat.jpg");
//   session.run();
//   for (const maru::Score& s : session.top(5)) std::cout << s.score << ' ' << s.label << '\n';
#pragma once

#include <maru/error.h>
#include <maru/model.h>
#include <maru/pack.h>
#include <maru/session.h>
#include <maru/types.h>
