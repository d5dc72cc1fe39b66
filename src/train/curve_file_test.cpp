#include "train/curve_file.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <iterator>
#include <limits>

#include "base/error.h"
#include "tests/files.h"

namespace maru {
namespace {

class CurveFiles : public ::testing::Test {
 protected:
  std::string text() const {
    std::ifstream file(path_);
    return {std::istreambuf_iterator<char>(file), {}};
  }
  void set_text(const std::string& text) const { std::ofstream(path_) << text; }
  std::string complaint() const {
    try {
      read_curves(path_);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  }

  const testing::Folder folder_;
  const std::filesystem::path path_ = folder_.path("curves.csv");
};

TEST_F(CurveFiles, AreWrittenAndRead) {
  {
    CurveFile file(path_, {"lr", "odd, \"name\""});
    file.add({0, 0, 0.5, {{"lr", 0.1}, {"unknown", 3}}});
    file.add({20, 0.25, 1.5, {{"odd, \"name\"", std::numeric_limits<double>::quiet_NaN()}}});
  }
  EXPECT_EQ(text(),
            "iteration,epoch,seconds,lr,\"odd, \"\"name\"\"\"\n0,0,0.5,0.1,\n20,0.25,1.5,,nan\n");
  const Curves curves = read_curves(path_);
  EXPECT_EQ(curves.columns,
            (std::vector<std::string>{"iteration", "epoch", "seconds", "lr", "odd, \"name\""}));
  ASSERT_EQ(curves.rows.size(), 2u);
  EXPECT_EQ(curves.rows[0][*curves.find("lr")], 0.1);
  EXPECT_FALSE(curves.rows[1][*curves.find("lr")].has_value());
  EXPECT_TRUE(std::isnan(*curves.rows[1][4]));
  EXPECT_FALSE(curves.find("none").has_value());
}

TEST_F(CurveFiles, GoOnWhereTrainingDoes) {
  {
    CurveFile file(path_, {"loss"});
    for (const std::int64_t iteration : {0, 10, 20, 30}) file.add({iteration, 0, 0, {{"loss", 1}}});
  }
  set_text(text() + "40,0,0");  // killed in the middle of a line
  {
    CurveFile file(path_, {"loss"}, 20);
    for (const std::int64_t iteration : {20, 30}) file.add({iteration, 0, 0, {{"loss", 2}}});
  }
  EXPECT_EQ(text(), "iteration,epoch,seconds,loss\n0,0,0,1\n10,0,0,1\n20,0,0,2\n30,0,0,2\n");
  EXPECT_THROW(CurveFile(path_, {"other"}, 20), Error);
  EXPECT_EQ(read_curves(path_).rows.size(), 4u) << "it stayed as it was";
  { CurveFile file(path_, {"other"}); }
  EXPECT_EQ(text(), "iteration,epoch,seconds,other\n") << "a new run has a new curve";
}

TEST_F(CurveFiles, SayWhatIsNone) {
  EXPECT_NE(complaint(), "");
  set_text("");
  EXPECT_NE(complaint().find("a header line"), std::string::npos);
  set_text("a,b\n1,2\n");
  EXPECT_NE(complaint().find(":1] expected a header"), std::string::npos);
  set_text("iteration,loss\n1,2\n2\n");
  EXPECT_NE(complaint().find(":3] expected 2 cells"), std::string::npos);
  set_text("iteration,loss\n1,much\n");
  EXPECT_NE(complaint().find(":2] expected a number"), std::string::npos);
  set_text("iteration,loss\n,1\n");
  EXPECT_NE(complaint().find("an iteration"), std::string::npos);
  EXPECT_THROW(CurveFile("/proc/none/curve.csv", {}), Error);
}

}  // namespace
}  // namespace maru
