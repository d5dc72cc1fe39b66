// How reports look. Colours of ways are Okabe and Ito's, which people with any colour vision tell
// apart, darkened or lightened until they stand out from the ground at 4.5 : 1 (WCAG 2.1, AA).
#include <fmt/format.h>

#include "measure/markup.h"

namespace maru::measure {
namespace {

constexpr std::string_view kLight =
    "--ground:#ffffff;--panel:#f6f7f9;--ink:#1b1f24;--soft:#57606a;--rule:#d5dae0;"
    "--w0:#b84a00;--w1:#0063a3;--w2:#007a5a;--w3:#93428f;--w4:#75640a;"
    "--bad:#b3261e;--bad-ground:#fdecea;--fair:#7a5200;--fair-ground:#fff4d6;--good:#1a7036;";
constexpr std::string_view kDark =
    "--ground:#12161b;--panel:#1b2027;--ink:#e8ebef;--soft:#a3adb8;--rule:#39414b;"
    "--w0:#f59a57;--w1:#66b5f7;--w2:#45d0a2;--w3:#dc9fdf;--w4:#d8c65c;"
    "--bad:#ff8f85;--bad-ground:#3a1a18;--fair:#f3c55c;--fair-ground:#33280c;--good:#62cf85;";

constexpr std::string_view kDrawing = R"(
.figure{font-family:system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans","DejaVu Sans",sans-serif}
.figure text{fill:var(--ink);font-size:13px;paint-order:stroke;stroke:var(--ground);stroke-width:3px;stroke-linejoin:round}
.figure text.small{font-size:11.5px}
.figure text.soft{fill:var(--soft)}
.figure text.strong{font-weight:600}
.figure text.mid{text-anchor:middle}
.figure text.end{text-anchor:end}
.figure text.bad{fill:var(--bad)}
.figure text.on{fill:var(--ground);stroke:none}
.figure .ground{fill:var(--ground)}
.figure .rule{stroke:var(--rule);stroke-width:1}
.figure .axis{stroke:var(--soft);stroke-width:1}
.figure .dashed{stroke:var(--soft);stroke-width:1.2;stroke-dasharray:5 4}
.figure .whisker{stroke:var(--ink);stroke-width:1.6}
.figure .median{stroke:var(--ink);stroke-width:2}
.figure .trace{stroke:var(--ink);stroke-width:1.1;fill:none;stroke-linejoin:round}
.figure .curve{stroke-width:1.8;stroke-linejoin:round}
.figure .curve.again{stroke-dasharray:6 3}
.figure .s1{opacity:.25}.figure .s2{opacity:.42}.figure .s3{opacity:.6}.figure .s4{opacity:.8}
.figure .dots{fill:none;stroke-width:3;stroke-linecap:round}
.figure .shade{opacity:.22}
.figure .off{fill:none;stroke:var(--soft);stroke-dasharray:4 4}
.figure .edge{stroke:var(--ground);stroke-width:.6}
)";

constexpr std::string_view kPage = R"(
*{box-sizing:border-box}
html{color-scheme:light dark;-webkit-text-size-adjust:100%}
body{margin:0;background:var(--ground);color:var(--ink);
font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans","DejaVu Sans",sans-serif}
main{max-width:980px;margin:0 auto;padding:28px 20px 40px;overflow-wrap:anywhere}
h1{font-size:1.7rem;line-height:1.2;margin:0 0 4px}
h2{font-size:1.15rem;margin:38px 0 10px}
p{margin:8px 0}
.sub,figcaption,.note{color:var(--soft)}
.sub{margin:0 0 18px}
figcaption,.note{font-size:.875rem;margin-top:6px}
figure{margin:0}
.figure{display:block;width:100%;height:auto}
.pair{display:grid;grid-template-columns:1fr 1fr;gap:20px}
.narrow{display:none}
.lead{font-size:1.1rem;margin:4px 0}
.lead b{white-space:nowrap}
.banner{border-left:5px solid var(--fair);background:var(--fair-ground);padding:10px 16px;margin:16px 0;border-radius:4px}
.banner.failed{border-color:var(--bad);background:var(--bad-ground)}
.banner strong{color:var(--fair);letter-spacing:.04em}
.banner.failed strong{color:var(--bad)}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:.925rem;font-variant-numeric:tabular-nums}
caption{text-align:left;color:var(--soft);font-size:.875rem;padding-bottom:6px}
th,td{padding:6px 10px;border-bottom:1px solid var(--rule);text-align:right;vertical-align:top;overflow-wrap:normal}
th[scope=row],th.left,td.left{text-align:left;font-weight:400}
td.left,th.name{overflow-wrap:anywhere}
thead th,thead td{border-bottom:2px solid var(--soft);font-weight:600;vertical-align:bottom}
thead th{white-space:nowrap}
td small{display:block;color:var(--soft);font-size:.8rem;white-space:nowrap}
th small{display:block;color:var(--soft);font-size:.8rem;font-weight:400}
td b,td.whole{white-space:nowrap}
th.name{min-width:12.5em}
.swatch{display:inline-block;width:.75em;height:.75em;border-radius:2px;margin-right:.4em}
.checks{list-style:none;margin:0;padding:0}
.checks li{padding:7px 0;border-bottom:1px solid var(--rule);display:grid;grid-template-columns:6.2em 1fr;gap:10px}
.verdict{font-weight:600}
.passed{color:var(--good)}.unstable{color:var(--fair)}.failed .verdict,.verdict.failed{color:var(--bad)}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:12px;margin:16px 0}
.tile{background:var(--panel);border-radius:8px;padding:10px 14px}
.tile b{display:block;font-size:1.25rem;line-height:1.3}
.tile span{color:var(--soft);font-size:.85rem}
.facts{display:grid;grid-template-columns:max-content 1fr;gap:3px 18px;margin:0;font-size:.9rem}
.facts dt{color:var(--soft)}
.facts dd{margin:0}
code{font:.92em ui-monospace,"SFMono-Regular",Consolas,"DejaVu Sans Mono",monospace}
footer{margin-top:40px;padding-top:6px;border-top:1px solid var(--rule)}
@media (max-width:640px){
main{padding:18px 12px 30px}
h1{font-size:1.4rem}
.pair{grid-template-columns:1fr}
.wide{display:none}.narrow{display:block}
th,td{padding:6px 5px}
table{font-size:.85rem}
td small{white-space:normal}
.facts{grid-template-columns:1fr;gap:0}
.facts dd{margin-bottom:8px}
}
@media print{
main{max-width:none;padding:0}
h2{break-after:avoid}
figure,table,.tile,.checks li,footer{break-inside:avoid}
.scroll{overflow:visible}
.pair{grid-template-columns:1fr 1fr}
.wide{display:block}.narrow{display:none}
*{-webkit-print-color-adjust:exact;print-color-adjust:exact}
}
)";

}  // namespace

std::string svg_style(std::string_view root) {
  std::string style = fmt::format("{}{{{}}}\n@media screen and (prefers-color-scheme:dark){{{}{{{}}}}}",
                                  root, kLight, root, kDark);
  style += kDrawing;
  for (std::size_t way = 0; way < 5; ++way) {
    const std::string look = way_look(way);
    style += fmt::format(
        ".figure .{0},.swatch.{0}{{fill:var(--{0});background:var(--{0})}}"
        ".figure .dots.{0},.figure .curve.{0}{{fill:none;stroke:var(--{0})}}.figure "
        "text.{0}{{fill:var(--{0})}}\n",
        look);
  }
  return style;
}

std::string page(std::string_view title, std::string_view body) {
  return fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
      "<meta name=\"color-scheme\" content=\"light dark\">\n"
      "<title>{}</title>\n<style>\n{}{}</style>\n</head>\n<body>\n<main>\n{}</main>\n</body>\n</"
      "html>\n",
      escaped(title), svg_style(":root"), kPage, body);
}

}  // namespace maru::measure
